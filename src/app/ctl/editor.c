#include "app/ctl/editor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"

enum { EDITED_MAX = 1024 * 1024 };

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");

    for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
        size_t len = strcspn(at, ":");
        AUTO(cstr) char *file = str_fmt("%.*s/%s", (int)len, at, program);
        if (len > 0 && access(file, X_OK) == 0)
            return true;
        at += len;
        at += *at == ':';
    }
    return false;
}

static const char *choose_editor(void)
{
    const char *editor = getenv("EDITOR");

    if (!str_empty(editor))
        return editor;
    if (in_path("editor"))
        return "editor";
    return in_path("vi") ? "vi" : NULL;
}

static bool write_all(int fd, const char *text, struct err *err)
{
    for (size_t len = strlen(text); len > 0;) {
        ssize_t put = write(fd, text, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_sys(err, errno, "writing a temporary file");
        text += put;
        len -= (size_t)put;
    }
    return true;
}

/* Editors replace the file as often as they write into it, so it is opened anew. */
static bool read_file(const char *path, char **ret_text, struct err *err)
{
    AUTO(buf) struct buf out = BUF_EMPTY;
    char piece[4096];
    FILE *file = fopen(path, "re");

    if (!file)
        return err_sys(err, errno, "opening %s", path);
    for (size_t got; out.len <= EDITED_MAX && (got = fread(piece, 1, sizeof(piece), file)) > 0;)
        buf_add(&out, piece, got);
    bool failed = ferror(file) != 0;
    (void)fclose(file); /* it was only read */
    if (failed)
        return err_sys(err, EIO, "reading %s", path);
    if (out.len > EDITED_MAX)
        return err_set(err, ERR_INPUT, "%s: larger than %d bytes", path, EDITED_MAX);
    *ret_text = buf_take(&out);
    return true;
}

/* None of these calls can fail for a valid signal. */
static void start_editor(const char *editor, const char *path)
{
    AUTO(cstr) char *command = str_fmt("exec %s \"$1\"", editor);

    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGQUIT, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
    _exit(127);
}

/*
 * EDITOR may hold options ("code --wait"), as everywhere; the shell takes it apart. Ctrl-C is the editor's meanwhile:
 * if it ended us too, the file would stay and the editor run on behind the shell's back.
 */
static bool run_editor(const char *editor, const char *path, struct err *err)
{
    void (*interrupt)(int) = signal(SIGINT, SIG_IGN);
    void (*quit)(int) = signal(SIGQUIT, SIG_IGN);
    pid_t pid = fork();
    int status = 0;
    bool ended = pid > 0;

    if (pid == 0)
        start_editor(editor, path);
    while (ended && waitpid(pid, &status, 0) < 0)
        ended = errno == EINTR;
    int why = errno;
    (void)signal(SIGINT, interrupt);
    (void)signal(SIGQUIT, quit);

    if (!ended)
        return err_sys(err, why, "running %s", editor);
    if (WIFSIGNALED(status))
        return err_set(err, ERR_INPUT, "Editor was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status))
        return err_set(err, ERR_INPUT, "Editor exited with return code %d", WEXITSTATUS(status));
    return true;
}

bool editor_run(const char *name, const char *text, char **ret_text, struct err *err)
{
    const char *editor = choose_editor();
    const char *dir = getenv("TMPDIR");
    AUTO(cstr) char *safe_name = str_dup(name);

    if (!editor)
        return err_set(err, ERR_NOT_FOUND, "EDITOR environment variable is not set. editor or vi are not available");
    for (char *at = safe_name; *at; at++)
        if (*at == '/')
            *at = '_';

    AUTO(cstr) char *path = str_fmt("%s/%s-config-XXXXXX.yaml", str_empty(dir) ? "/tmp" : dir, safe_name);
    AUTO(fd) int fd = mkstemps(path, (int)strlen(".yaml")); /* 0600: it may hold secrets */
    if (fd < 0)
        return err_sys(err, errno, "making a temporary file %s", path);

    bool ok = write_all(fd, text, err) && run_editor(editor, path, err) && read_file(path, ret_text, err);
    (void)unlink(path); /* the editor may have moved it */
    return ok;
}
