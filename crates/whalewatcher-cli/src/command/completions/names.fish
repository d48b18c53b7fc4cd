# Completes names of live containers, where the commands take them.
function __whalewatcher_names
    set -l engines
    set -l before
    for word in (commandline -opc)
        switch "$before"
            case -H --host --context
                set -a engines $before $word
        end
        switch "$word"
            case '--host=*' '--context=*' --discover
                set -a engines $word
        end
        set before $word
    end
    timeout 2 whalewatcher ps --output name $engines 2>/dev/null
end

complete -c whalewatcher -n "__fish_whalewatcher_using_subcommand ps watch events wait log" -f -a "(__whalewatcher_names)"
