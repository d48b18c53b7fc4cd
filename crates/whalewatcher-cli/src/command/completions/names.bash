# Completes names of live containers, where the commands take them.
_whalewatcher_with_names() {
    _whalewatcher "$@"
    local current="$2" previous="$3" word before="" command="" name
    local words=() engines=() names=()
    # As the user typed it: bash splits URLs at their colons.
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    for word in "${words[@]:1}"; do
        case "$before" in
            -H | --host | --context) engines+=("$before" "$word") ;;
        esac
        case "$word" in
            --host=* | --context=* | --discover) engines+=("$word") ;;
            ps | watch | events | wait | log) command="${command:-$word}" ;;
        esac
        before="$word"
    done
    # An option may take this word as its value.
    [[ -z "$command" || "$current" == -* || "$previous" == -* || "$previous" == "=" || "$previous" == ":" ]] && return
    [[ "$previous" == "$1" || "$current" == "$command" ]] && return
    while IFS= read -r name; do
        [[ "$name" == "$current"* ]] && names+=("$(printf %q "$name")")
    done < <(timeout 2 "$1" ps --output name "${engines[@]}" 2> /dev/null)
    (( ${#names[@]} > 0 )) && COMPREPLY=("${names[@]}")
    return 0
}

complete -F _whalewatcher_with_names -o bashdefault -o default whalewatcher
