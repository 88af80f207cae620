#compdef ckpt
# Completion of ckpt in zsh: `source <(ckpt completion zsh)`, in ~/.zshrc.
_ckpt() {
    local line
    local -a whole begun
    while IFS= read -r line; do
        case $line in
            files) _files; return ;;
            +*) whole+=("${line#+}") ;;
            -*) begun+=("${line#-}") ;;
        esac
    done < <(command ckpt _complete zsh "${(Q)PREFIX}" "${(@Q)words[2,CURRENT-1]}" 2>/dev/null)
    (( $#whole )) && compadd -- "${whole[@]}"
    (( $#begun )) && compadd -S '' -- "${begun[@]}"
    (( $#whole + $#begun ))
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _ckpt ckpt
