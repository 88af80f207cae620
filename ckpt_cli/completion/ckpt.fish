# Completion of ckpt in fish: `ckpt completion fish | source`, in ~/.config/fish/config.fish.
function __ckpt_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command ckpt _complete fish "$current" $words[2..-1] 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path "$current"
    else if set -q answer[1]
        string sub -s 2 -- $answer
    end
end
complete -c ckpt -f -a '(__ckpt_complete)'
