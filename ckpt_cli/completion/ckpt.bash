# Completion of ckpt in bash: `source <(ckpt completion bash)`, in ~/.bashrc.
_ckpt() {
    local line more=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            files) compopt -o default 2>/dev/null; return 0 ;;
            -*) more=1 ;;
        esac
        COMPREPLY+=("${line:1}")
    done < <(
        # Variables that the line names are for ckpt to know, too; this is a shell of its own, so the user's stay what they are.
        for line in ${COMP_LINE//[^[:alnum:]_]/ }; do
            [[ $COMP_LINE == *\$* && $line == [[:alpha:]_]* && ${!line+set} ]] && export "$line"
        done
        command ckpt _complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null
    )
    if [[ $more && ${#COMPREPLY[@]} -eq 1 ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _ckpt ckpt
