
# Completes names of live containers, where the commands take them.
_whalewatcher_names() {
    local word before
    local -a engines names
    # The whole line: $words has lost the options.
    for word in "${(@Qz)BUFFER}"; do
        case "$before" in
            -H | --host | --context) engines+=("$before" "$word") ;;
        esac
        case "$word" in
            --host=* | --context=* | --discover) engines+=("$word") ;;
        esac
        before="$word"
    done
    names=("${(@f)$(timeout 2 whalewatcher ps --output name "${engines[@]}" 2> /dev/null)}")
    compadd -a names
}
