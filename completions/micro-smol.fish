# Completes micro-smol in fish, from what its --help says:
#     micro-smol completions fish | source

function __micro_smol
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l help ($words[1] --help)
    set -l options (string match -r -- '^ +-.*' $help)
    set -l command ''
    set -l usage
    if set -q words[2]; and string match -qr -- '^[a-z]+$' $words[2]
        set usage (string match -r -- "^    $words[2] .*" $help)
    end
    if test -n "$usage"
        set command $words[2]
        string match -q -- '*[options]*' $usage; and set -a options $usage; or set options $usage
    end
    # What an option wants stands behind it.
    set -l wanted
    string match -q -- '-*' $words[-1]
    and set wanted (string match -r -- "(?<=^| )$words[-1](?:, --[a-z-]+)? [A-Z]+" $options)
    switch "$wanted"
        case '* URI'
            printf '%s\n' tcp:// unix: fd:
            return
        case '* FILE' '* PATH'
            __fish_complete_path $word
            return
        case '* *'
            return
    end
    switch $command/$word
        case '*/-*'
            for line in $options
                set -l text (string replace -r -- '^ *\S+( \S+)* *' '' $line | string replace -r -- ' {2,}' ' ')
                string match -ra -- '(?<![\w-])--?[A-Za-z][a-z-]*' (string replace -r -- '^( *\S+( \S+)*).*' '$1' $line) | string replace -r -- '$' \t"$text"
            end
        case 'explain/*'
            $words[1] explain
        case 'completions/*' 'cache/*'
            string match -ra -- '[a-z]+' (string replace -r -- '^ *\S+ (\S+).*' '$1' $usage)
        case 'healthcheck/*'
        case '*'
            __fish_complete_suffix .rs
            if test (count $words) = 1
                string match -r -- '^    [a-z]+ .*' $help | string replace -r -- '^ *([a-z]+) .*  +(.*)' '$1\t$2'
            end
    end
end

complete -c micro-smol -f -a '(__micro_smol)'
