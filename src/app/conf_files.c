#include "app/conf_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "wire/conf/yaml.h"

/* Reads to the end rather than trusting st_size: a configuration may be a pipe (`-c <(…)`). */
static bool read_whole(int fd, char **ret_text, size_t *ret_len, struct err *err)
{
    AUTO(cstr) char *text = mem_zero(YAML_TEXT_MAX + 2, 1);
    size_t len = 0;

    for (;;) {
        ssize_t got = read(fd, text + len, YAML_TEXT_MAX + 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading it");
        if (got == 0)
            break;
        len += (size_t)got;
        if (len > YAML_TEXT_MAX)
            return err_set(err, ERR_INPUT, "larger than %d bytes", YAML_TEXT_MAX);
    }
    *ret_text = str_dup(text);
    *ret_len = len;
    if (strlen(*ret_text) == len)
        return true;

    free(*ret_text);
    return err_set(err, ERR_INPUT, "has NUL bytes: not a text file");
}

static bool add_open(const char *path, int fd, struct conf_files *f, struct err *err)
{
    char *text = NULL;
    size_t len = 0;

    if (!read_whole(fd, &text, &len, err))
        return err_wrap(err, "%s", path);

    f->at = mem_grow(f->at, f->count + 1, sizeof(*f->at));
    f->at[f->count++] = (struct conf_source){.path = str_dup(path), .text = text, .len = len};
    return true;
}

static bool add_file(const char *path, struct conf_files *f, struct err *err)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    return add_open(path, fd, f, err);
}

static int is_yaml(const struct dirent *entry)
{
    return str_ends(entry->d_name, ".yml") || str_ends(entry->d_name, ".yaml");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* alphasort() would follow the locale */
}

static bool add_folder(const char *path, struct conf_files *f, struct err *err)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_yaml, by_name);
    bool ok = count >= 0;

    if (!ok)
        (void)err_sys(err, errno, "reading folder %s", path);
    for (int i = 0; i < count; i++) {
        AUTO(cstr) char *file = str_fmt("%s/%s", path, entries[i]->d_name);
        struct stat st;
        if (ok && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            ok = add_file(file, f, err);
        free(entries[i]);
    }
    free(entries);
    if (ok && f->count == 0)
        return err_set(err, ERR_INPUT, "folder %s has no *.yml or *.yaml file", path);
    return ok;
}

bool conf_files_read(const char *path, struct conf_files *ret_files, struct err *err)
{
    AUTO(conf_files) struct conf_files files = {0};
    struct stat st;

    if (stat(path, &st) < 0)
        return err_sys(err, errno, "opening %s", path);
    if (S_ISDIR(st.st_mode) ? !add_folder(path, &files, err) : !add_file(path, &files, err))
        return false;

    *ret_files = files;
    files = (struct conf_files){0};
    return true;
}

bool conf_files_read_stdin(struct conf_files *ret_files, struct err *err)
{
    struct conf_files files = {0};

    if (!add_open("standard input", STDIN_FILENO, &files, err))
        return false;

    *ret_files = files;
    return true;
}

void conf_files_deinit(struct conf_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free((char *)f->at[i].path);
        free((char *)f->at[i].text);
    }
    free(f->at);
    *f = (struct conf_files){0};
}
