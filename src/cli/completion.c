// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/options.h"
#include "cli/command.h"

/*
 * Scripts that know the commands of this program; names and options they ask it for when they are
 * wanted, so that they are those of today.
 */

static const char bash_script[] =
        "_cay_options() {\n"
        "    cay \"$@\" --help 2>/dev/null | grep -oE -- '(^|[ ,])--[a-z-]+' | tr -d ' ,'\n"
        "}\n"
        "_cay() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words=$_cay_commands\n"
        "    elif [[ $word == -* ]]; then\n"
        "        if [ \"$command\" = pool ]; then\n"
        "            words=$(_cay_options pool \"${COMP_WORDS[2]}\")\n"
        "        else\n"
        "            words=$(_cay_options \"$command\")\n"
        "        fi\n"
        "    else\n"
        "        case $command in\n"
        "        exec | logs | rm) words=$(cay ls -o name 2>/dev/null) ;;\n"
        "        completion) words='bash zsh fish' ;;\n"
        "        pool)\n"
        "            if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
        "                words='ls create scale rm'\n"
        "            else\n"
        "                words=$(cay pool ls -o name 2>/dev/null)\n"
        "            fi\n"
        "            ;;\n"
        "        esac\n"
        "    fi\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "}\n"
        "complete -F _cay cay\n";

static const char zsh_script[] =
        "_cay_options() {\n"
        "    cay \"$@\" --help 2>/dev/null | grep -oE -- '(^|[ ,])--[a-z-]+' | tr -d ' ,'\n"
        "}\n"
        "_cay() {\n"
        "    local -a list\n"
        "    if (( CURRENT == 2 )); then\n"
        "        list=(${=_cay_commands})\n"
        "    elif [[ $words[CURRENT] == -* ]]; then\n"
        "        if [[ $words[2] == pool ]]; then\n"
        "            list=(${(f)\"$(_cay_options pool $words[3])\"})\n"
        "        else\n"
        "            list=(${(f)\"$(_cay_options $words[2])\"})\n"
        "        fi\n"
        "    else\n"
        "        case $words[2] in\n"
        "        exec | logs | rm) list=(${(f)\"$(cay ls -o name 2>/dev/null)\"}) ;;\n"
        "        completion) list=(bash zsh fish) ;;\n"
        "        pool)\n"
        "            if (( CURRENT == 3 )); then\n"
        "                list=(ls create scale rm)\n"
        "            else\n"
        "                list=(${(f)\"$(cay pool ls -o name 2>/dev/null)\"})\n"
        "            fi\n"
        "            ;;\n"
        "        esac\n"
        "    fi\n"
        "    compadd -a list\n"
        "}\n"
        "if [[ $funcstack[1] == _cay ]]; then\n" /* found in fpath, not sourced */
        "    _cay \"$@\"\n"
        "else\n"
        "    compdef _cay cay\n"
        "fi\n";

static const char fish_script[] =
        "function __cay_options\n"
        "    set -l words (commandline -opc)\n"
        "    cay $words[2..-1] --help 2>/dev/null | string match -ra -- '--[a-z-]+'\n"
        "end\n"
        "complete -c cay -f\n"
        "complete -c cay -n 'string match -q -- \"-*\" (commandline -ct)' -a '(__cay_options)'\n"
        "complete -c cay -n '__fish_seen_subcommand_from exec logs rm' \\\n"
        "    -a '(cay ls -o name 2>/dev/null)'\n"
        "complete -c cay -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
        "complete -c cay -n '__fish_seen_subcommand_from pool; "
        "and not __fish_seen_subcommand_from ls create scale' -a 'ls create scale rm'\n"
        "complete -c cay -n '__fish_seen_subcommand_from pool; "
        "and __fish_seen_subcommand_from scale rm' \\\n"
        "    -a '(cay pool ls -o name 2>/dev/null)'\n";

/* Help texts are ours and hold no quotation mark. */
static void print_fish(void)
{
        fputs(fish_script, stdout);
        for (const struct command *command = commands; command->name; command++)
                if (!command->hidden)
                        printf("complete -c cay -n __fish_use_subcommand -a %s -d \"%s\"\n",
                               command->name, command->help);
}

static void print_with_commands(const char *begin, const char *script)
{
        printf("%s_cay_commands='", begin);
        for (const struct command *command = commands; command->name; command++)
                if (!command->hidden)
                        printf("%s ", command->name);
        printf("'\n%s", script);
}

int command_completion(int argc, char **argv, struct error *error)
{
        static const struct option_spec specs[] = { OPTION_END };
        int operands;

        if (command_help(command_find("completion"), NULL, argc, argv)) {
                printf("\nbash: source <(cay completion bash)\n"
                       "zsh:  source <(cay completion zsh), after compinit\n"
                       "fish: cay completion fish | source\n");
                return 0;
        }
        int r = options_parse(specs, argc, argv, false, error, &operands);
        if (r < 0)
                return r;
        if (operands == 1 && strcmp(argv[1], "bash") == 0)
                print_with_commands("", bash_script);
        else if (operands == 1 && strcmp(argv[1], "zsh") == 0)
                print_with_commands("#compdef cay\n", zsh_script);
        else if (operands == 1 && strcmp(argv[1], "fish") == 0)
                print_fish();
        else
                return error_set(error, -EINVAL, "name a shell: bash, zsh or fish");
        return 0;
}
