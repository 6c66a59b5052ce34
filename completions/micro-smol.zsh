# Completes micro-smol in zsh, from what its --help says, after compinit:
#     source <(micro-smol completions zsh)

_micro_smol() {
    local program=$words[1] command= last=$words[CURRENT-1] usage= line word spec text
    local -a commands options lines=(${(f)"$($words[1] --help)"})
    if ((CURRENT > 2)) && [[ $words[2] == [a-z]## ]]; then
        command=$words[2]
        usage=${(M)lines:#    $command *}
    fi
    for line in $lines; do
        spec=${${line##[[:space:]]#}%%  *}
        text=${(j: :)${=${line#*$spec}}}
        [[ $line == '    '[a-z]* ]] && commands+=("${spec%% *}:$text")
        # The options of a command stand in its line, and what `[options]` means in lines of their own.
        [[ $line == $usage || $line == [[:space:]]##-* && ( -z $usage || $usage == *'[options]'* ) ]] || continue
        for word in ${(M)${=${spec//[^A-Za-z-]/ }}:#-*}; do
            options+=("$word:$text")
        done
        # What an option wants stands behind it.
        if [[ $last == -* && $spec =~ "(^| )$last(, --[a-z-]+)? ([A-Z]+)" ]]; then
            case $match[3] in
                URI) compadd -S '' tcp:// unix: fd: ;;
                FILE | PATH) _files ;;
            esac
            return
        fi
    done
    case $command/$words[CURRENT] in
        */-*) _describe option options ;;
        explain/*) compadd - ${(f)"$($program explain)"} ;;
        completions/* | cache/*) compadd - ${=${${usage##[[:space:]]#$command }%%  *}//[^a-z]/ } ;;
        healthcheck/*) ;;
        *)
            _files -g '*.rs(-.)'
            ((CURRENT == 2)) && _describe command commands
            ;;
    esac
}

compdef _micro_smol micro-smol
