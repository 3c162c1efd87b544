#include "app/ctl/rest_any.h"

#include "base/str.h"

static bool ask(struct ctl *ctl, const struct member *m, const char *doing, const char *method, const char *path,
                const json_t *body, const struct member **ret_member, struct rest_reply *ret_reply)
{
    struct err err;

    if (!m->api_url)
        return false;
    ctl_note("%s, asking %s at %s", doing, m->name, m->api_url);
    if (!wait_rest(ctl, m, method, path, body, WAIT_REST_MS, ret_reply, &err)) {
        ctl_note("Warning: member %s is not accessible: %s", m->name, err.text);
        return false;
    }
    *ret_member = m;
    return true;
}

bool rest_any(struct ctl *ctl, const struct cluster *c, const char *doing, const char *method, const char *path,
              const json_t *body, const struct member **ret_member, struct rest_reply *ret_reply)
{
    const struct member *leader = cluster_leader_member(c);

    if (leader && ask(ctl, leader, doing, method, path, body, ret_member, ret_reply))
        return true;
    for (size_t i = 0; i < c->member_count; i++)
        if (&c->members[i] != leader && ask(ctl, &c->members[i], doing, method, path, body, ret_member, ret_reply))
            return true;
    return false;
}
