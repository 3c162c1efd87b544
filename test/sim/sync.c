#include "test/sim/sync.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/pg.h"
#include "test/sim/truths.h"

void (*sync_list_taken)(struct pg *p, const struct pg_sender *s);
void (*sync_counts_twice)(struct pg *p, const char *application_name);

/* ---- lists (syncrep_gram.y) ---- */

enum token { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_COMMA, TOKEN_BAD };

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static enum token next_token(const char **at, char text[APPLICATION_NAME_MAX])
{
    size_t len = 0;

    while (isspace((unsigned char)**at))
        ++*at;
    char c = **at;
    if (!c)
        return TOKEN_END;
    ++*at;
    text[0] = c;
    text[1] = '\0';
    if (c == '(' || c == ')' || c == ',')
        return c == '(' ? TOKEN_OPEN : c == ')' ? TOKEN_CLOSE : TOKEN_COMMA;
    if (c == '*')
        return TOKEN_NAME;
    if (c == '"') {
        for (; **at && **at != '"' && len + 1 < APPLICATION_NAME_MAX; ++*at)
            text[len++] = **at;
        text[len] = '\0';
        return len && *(*at)++ == '"' ? TOKEN_NAME : TOKEN_BAD;
    }
    if (!is_word(c) || c == '$')
        return TOKEN_BAD;
    for (text[len++] = c; is_word(**at) && len + 1 < APPLICATION_NAME_MAX; ++*at)
        text[len++] = **at;
    text[len] = '\0';
    return strspn(text, "0123456789") == len ? TOKEN_NUMBER : TOKEN_NAME;
}

/* Names up to `until`, the first of them read already. */
static bool read_names(const char **at, enum token token, const char *first, enum token until, struct sync_list *l)
{
    char text[APPLICATION_NAME_MAX];

    str_copy(text, sizeof(text), first);
    for (;; token = next_token(at, text)) {
        if ((token != TOKEN_NAME && token != TOKEN_NUMBER) || l->count == SYNC_LIST_MAX)
            return false;
        str_copy(l->names[l->count++], APPLICATION_NAME_MAX, text);
        token = next_token(at, text);
        if (token == until)
            return true;
        if (token != TOKEN_COMMA)
            return false;
    }
}

static bool read_list(const char *at, struct sync_list *l)
{
    char text[APPLICATION_NAME_MAX];
    char ahead[APPLICATION_NAME_MAX];
    const char *begin = at;
    enum token token = next_token(&at, text);
    int64_t wanted = 1;

    if (token == TOKEN_NAME && (str_eq_nocase(text, "any") || str_eq_nocase(text, "first"))) {
        l->method = str_eq_nocase(text, "any") ? SYNC_ANY : SYNC_FIRST;
        token = next_token(&at, text);
    }
    const char *after = at;
    if (token == TOKEN_NUMBER && next_token(&after, ahead) == TOKEN_OPEN) {
        at = after;
        if (!str_to_int(text, 1, SYNC_LIST_MAX, &wanted))
            return false;
        token = next_token(&at, text);
        l->wanted = (int)wanted;
        return read_names(&at, token, text, TOKEN_CLOSE, l) && next_token(&at, text) == TOKEN_END;
    }
    l->method = SYNC_FIRST;
    l->wanted = 1;
    token = next_token(&begin, text);
    return read_names(&begin, token, text, TOKEN_END, l);
}

bool sync_list_parse(const char *text, struct sync_list **ret_list)
{
    struct sync_list *l;

    if (!text[strspn(text, " \t\n")]) {
        *ret_list = NULL;
        return true;
    }
    l = mem_zero(1, sizeof(*l));
    if (!read_list(text, l)) {
        free(l);
        return false;
    }
    *ret_list = l;
    return true;
}

int sync_list_priority(const struct sync_list *l, const char *application_name)
{
    for (int i = 0; l && i < l->count; i++)
        if (str_eq_nocase(l->names[i], application_name) || str_eq(l->names[i], "*"))
            return l->method == SYNC_ANY ? 1 : i + 1;
    return 0;
}

/* ---- waiters ---- */

void sync_init(struct sync *s)
{
    *s = (struct sync){0};
    list_init(&s->waiters);
}

bool sync_is_wanted(const struct pg *p)
{
    if (!truth(TRUTH_CHECKPOINTER_OWNS_DEFINED))
        return p->sessions_conf.conf->names != NULL;
    if (p->sync.known || truth(TRUTH_NAMES_MISSED_AT_START))
        return p->sync.defined;
    return p->sessions_conf.conf->names != NULL;
}

/* By position, as the queue is: who comes later mostly has the higher one. */
bool sync_wait(struct pg *p, struct sync_waiter *w)
{
    struct list *after = p->sync.waiters.prev;

    if (!sync_is_wanted(p) || w->commit->end <= p->sync.released)
        return false;
    while (after != &p->sync.waiters && LIST_ENTRY(after, struct sync_waiter, link)->commit->end > w->commit->end)
        after = after->prev;
    list_add_tail(after->next, &w->link);
    return true;
}

void sync_leave(struct sync_waiter *w)
{
    list_remove(&w->link);
}

bool sync_waits(const struct sync_waiter *w)
{
    return w->link.next && !list_empty(&w->link);
}

static void wake_up_to(struct pg *p, lsn upto)
{
    while (!list_empty(&p->sync.waiters)) {
        struct sync_waiter *w = LIST_ENTRY(p->sync.waiters.next, struct sync_waiter, link);
        if (w->commit->end > upto)
            break;
        list_remove(&w->link);
        w->released(w);
    }
}

void sync_define(struct pg *p)
{
    bool defined = p->checkpointer_conf.conf->names != NULL;

    p->sync.known = true;
    if (defined == p->sync.defined)
        return;
    p->sync.defined = defined;
    if (!defined && truth(TRUTH_NAMES_DELETED_RELEASES))
        wake_up_to(p, UINT64_MAX);
}

void sync_take_list(struct pg *p, struct pg_sender *s)
{
    s->priority = p->in_recovery ? 0 : sync_list_priority(s->conf.conf->names, s->name);
    if (sync_list_taken)
        sync_list_taken(p, s);
}

/* ---- release ---- */

struct counted {
    const struct pg_sender *sender;
    lsn flushed;
};

static int by_priority(const void *a, const void *b)
{
    const struct counted *x = a;
    const struct counted *y = b;

    if (x->sender->priority != y->sender->priority)
        return x->sender->priority - y->sender->priority;
    return x->sender < y->sender ? -1 : 1; /* as in PostgreSQL, where it is the place in shared memory */
}

static int by_position(const void *a, const void *b)
{
    const struct counted *x = a;
    const struct counted *y = b;

    return x->flushed < y->flushed ? 1 : x->flushed > y->flushed ? -1 : x->sender < y->sender ? -1 : 1;
}

/* SyncRepGetCandidateStandbys: the others by the list that each of them has. */
static int count_all(const struct pg *p, struct counted counted[SENDERS_MAX])
{
    int count = 0;

    for (int i = 0; i < SENDERS_MAX; i++) {
        const struct pg_sender *s = &p->senders[i];
        bool counts =
            s->active && s->priority && s->flushed && (s->state == SENDER_STREAMING || s->state == SENDER_STOPPING);
        if (counts)
            counted[count++] = (struct counted){.sender = s, .flushed = s->flushed->end};
    }
    return count;
}

/* Where the wanted-th of them is, counted from the one that is furthest. */
static lsn position_of(struct counted *counted, int count, int wanted)
{
    qsort(counted, (size_t)count, sizeof(*counted), by_position);
    return count < wanted ? 0 : counted[wanted - 1].flushed;
}

static lsn proper_position(const struct counted *counted, int count, int wanted)
{
    struct counted servers[SENDERS_MAX];
    int kept = 0;

    for (int i = 0; i < count; i++)
        if (!counted[i].sender->tool)
            servers[kept++] = counted[i];
    return position_of(servers, kept, wanted);
}

static void tell_doubles(struct pg *p, const struct counted *counted, int count)
{
    for (int i = 0; sync_counts_twice && i < count; i++)
        for (int k = 0; k < i; k++)
            if (str_eq_nocase(counted[i].sender->name, counted[k].sender->name))
                sync_counts_twice(p, counted[i].sender->name);
}

/* Released on the word of who goes by a member's name, and is none. */
static void tell_strangers(struct pg *p, const struct counted *counted, int count)
{
    for (int i = 0; sync_counts_twice && i < count; i++)
        if (counted[i].sender->tool)
            sync_counts_twice(p, counted[i].sender->name);
}

static bool is_counted(const struct counted *counted, int count, const struct pg_sender *s)
{
    for (int i = 0; i < count; i++)
        if (counted[i].sender == s)
            return true;
    return false;
}

/* A node that two walsenders stand for counts once, where PostgreSQL is not to count walsenders. */
static int count_names_once(struct counted *counted, int count)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        bool again = false;
        for (int k = 0; k < kept; k++)
            again = again || str_eq_nocase(counted[i].sender->name, counted[k].sender->name);
        if (!again)
            counted[kept++] = counted[i];
    }
    return kept;
}

void sync_release(struct pg *p, struct pg_sender *s)
{
    const struct sync_list *l = s->conf.conf->names;
    struct counted counted[SENDERS_MAX];

    if (p->in_recovery || !s->priority || !s->flushed || !l ||
        (s->state != SENDER_STREAMING && s->state != SENDER_STOPPING))
        return;
    int count = count_all(p, counted);
    if (!truth(TRUTH_TWO_OF_ONE_NAME_COUNT))
        count = count_names_once(counted, count);
    if (count < l->wanted)
        return;
    if (l->method == SYNC_FIRST) {
        qsort(counted, (size_t)count, sizeof(*counted), by_priority);
        count = l->wanted;
        if (!is_counted(counted, count, s))
            return;
    }
    lsn position = position_of(counted, count, l->wanted); /* FIRST: the last of the wanted, which is the lowest */
    lsn proper = proper_position(counted, count, l->wanted);
    if (proper > p->sync.proper)
        p->sync.proper = proper;
    if (position <= p->sync.released)
        return;
    if (position > proper)
        tell_strangers(p, counted, count);
    tell_doubles(p, counted, l->method == SYNC_ANY ? l->wanted : count);
    p->sync.released = position;
    wake_up_to(p, position);
}
