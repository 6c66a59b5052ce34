# Completes micro-smol in bash, from what its --help says:
#     source <(micro-smol completions bash)

_micro_smol() {
    local program=$1 word=$2 last=$3 help options usage= command=
    help=$("$program" --help) || return
    options=$(grep '^ *-' <<<"$help")
    ((COMP_CWORD > 1)) && command=$(grep -oxE '[a-z]+' <<<"${COMP_WORDS[1]}")
    [[ $command ]] && usage=$(sed -n "s/^    $command \(.*\)  .*/\1/p" <<<"$help")
    case $usage in
        '') command= ;;
        *'[options]'*) options+=$usage ;;
        *) options=$usage ;;
    esac
    COMPREPLY=()
    if [[ $last == -* ]]; then
        # What an option wants stands behind it.
        case $(grep -oE -- "(^| )$last(, --[a-z-]+)? [A-Z]+" <<<"$options") in
            *' URI') COMPREPLY=($(compgen -W 'tcp:// unix: fd:' -- "$word")) && return ;;
            *' FILE' | *' PATH') compopt -o default && return ;;
            *' '[A-Z]*) return ;;
        esac
    fi
    case $command/$word in
        */-*)
            options=$(grep -oE '(^|[[ ,])--?[A-Za-z][a-z-]*' <<<"$options" | tr -d '[ ,')
            COMPREPLY=($(compgen -W "$options" -- "$word"))
            ;;
        explain/*) COMPREPLY=($(compgen -W "$("$program" explain)" -- "$word")) ;;
        completions/* | cache/*) COMPREPLY=($(compgen -W "${usage//[^a-z]/ }" -- "$word")) ;;
        healthcheck/*) ;;
        *)
            compopt -o filenames
            COMPREPLY=($(compgen -d -- "$word") $(compgen -f -X '!*.rs' -- "$word"))
            ((COMP_CWORD == 1)) && COMPREPLY+=($(compgen -W "$(sed -n 's/^    \([a-z]*\) .*/\1/p' <<<"$help")" -- "$word"))
            ;;
    esac
}

complete -F _micro_smol micro-smol
