#include "app/ctl/prompt.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"

/* One line without its newline; false at the end of input. */
static bool read_line(FILE *in, char **ret_line)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = getline(&line, &cap, in);

    if (len < 0) {
        free(line);
        return false;
    }
    line[strcspn(line, "\r\n")] = '\0';
    *ret_line = line;
    return true;
}

bool prompt_text(FILE *in, FILE *out, const char *question, const char *default_, char **ret)
{
    for (;;) {
        AUTO(cstr) char *line = NULL;

        if (default_)
            (void)fprintf(out, "%s [%s]: ", question, default_);
        else
            (void)fprintf(out, "%s: ", question);
        (void)fflush(out);
        if (!read_line(in, &line))
            return false;
        if (*line || default_) {
            *ret = *line ? TAKE(line) : str_dup(default_);
            return true;
        }
    }
}

bool prompt_confirm(FILE *in, FILE *out, const char *question, bool *ret_yes)
{
    for (;;) {
        AUTO(cstr) char *line = NULL;

        (void)fprintf(out, "%s [y/N]: ", question);
        (void)fflush(out);
        if (!read_line(in, &line))
            return false;

        bool yes = str_eq_nocase(line, "y") || str_eq_nocase(line, "yes");
        bool no = !*line || str_eq_nocase(line, "n") || str_eq_nocase(line, "no");
        if (yes || no) {
            *ret_yes = yes;
            return true;
        }
        (void)fprintf(out, "Error: invalid input\n");
    }
}

/* The read that it interrupts is the end of the input. */
static void on_interrupt(int number)
{
    (void)number;
}

bool prompt_secret(FILE *in, FILE *out, const char *question, char **ret)
{
    const struct sigaction interrupt = {.sa_handler = on_interrupt};
    struct sigaction old_interrupt;
    struct termios before, quiet;
    int fd = fileno(in);
    bool terminal = fd >= 0 && isatty(fd) && tcgetattr(fd, &before) == 0;

    if (!terminal)
        return prompt_text(in, out, question, NULL, ret);

    /* Ctrl-C must not leave a terminal behind that shows nothing of what is typed. */
    (void)sigaction(SIGINT, &interrupt, &old_interrupt); /* cannot fail for a valid signal */
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(fd, TCSAFLUSH, &quiet); /* the worst that happens is that it is seen */
    bool read = prompt_text(in, out, question, NULL, ret);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    (void)sigaction(SIGINT, &old_interrupt, NULL);
    (void)fputc('\n', out);
    return read;
}
