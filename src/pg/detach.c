#include "pg/detach.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/conffile.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/names.h"

enum { CONFIG_MAX = 1024 * 1024, MODE_DEFAULT = 0600, MODE_BITS = 0777 };

/*
 * Lines as conffile_config_text() writes them. Between the header and the include stand our defaults for quorum mode
 * and nothing else; a setting of the operator's stands below it and stays, unless it is one that we own.
 */
static bool is_left_over(const char *line, bool included)
{
    static const char *const owned[] = {
        "synchronous_standby_names = '" NAMES_FENCE "'",
        "include_if_exists '" NAMES_FILE "'",
        "restore_command = ''",
    };

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        if (str_eq(line, owned[i]))
            return true;
    return str_starts(line, "primary_conninfo = ") || str_starts(line, "primary_slot_name = ") ||
           (!included && *line && *line != '#');
}

char *detach_config_text(const char *text)
{
    AUTO(buf) struct buf kept = BUF_EMPTY;
    bool dropped = false, included = false;

    if (!str_starts(text, CONFFILE_HEADER)) /* Patroni's by now, or an operator's */
        return NULL;
    while (*text) {
        size_t len = strcspn(text, "\n");
        AUTO(cstr) char *line = str_fmt("%.*s", (int)len, text);
        len += text[len] == '\n';
        included |= str_starts(line, "include ");
        if (is_left_over(line, included))
            dropped = true;
        else
            buf_add(&kept, text, len);
        text += len;
    }
    return dropped ? buf_take(&kept) : NULL;
}

static bool clean_config(const struct pg_instance *i, bool *ret_changed, struct err *err)
{
    char *text = NULL;
    struct err why = {0};
    struct stat st;

    if (!file_read(i->config_file, CONFIG_MAX, &text, NULL, &why)) {
        if (why.code == ERR_NOT_FOUND)
            return true;
        *err = why;
        return false;
    }
    AUTO(cstr) char *old = text;
    AUTO(cstr) char *clean = detach_config_text(old);
    if (!clean)
        return true;
    mode_t mode = stat(i->config_file, &st) < 0 ? MODE_DEFAULT : st.st_mode & MODE_BITS;
    if (!file_replace(i->config_file, clean, strlen(clean), mode, err))
        return false;
    *ret_changed = true;
    return true;
}

bool detach_files(const struct pg_instance *i, bool quarantine, struct detach_done *ret_done, struct err *err)
{
    AUTO(cstr) char *list = names_path(i);
    AUTO(cstr) char *copied = str_fmt("%s/%s", i->data_dir, NAMES_FILE);
    bool had_list = file_exists(list) || file_exists(copied);

    *ret_done = (struct detach_done){0};
    if (quarantine && !datadir_set_standby_signal(i->data_dir, err))
        return false;
    ret_done->quarantined = quarantine;
    if (!names_remove(i, err))
        return false;
    ret_done->names = had_list;
    return conffile_sanitize(i, true, &ret_done->auto_conf, err) && clean_config(i, &ret_done->conf, err);
}
