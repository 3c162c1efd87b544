/*
 * GET /explain and GET /plan: what the rules would decide, asked of the view as it is now. Decides and changes nothing.
 */
#pragma once

struct agent;
struct op;

void foresee_now(struct agent *a, struct op *take_op);
void foresee_loss(struct agent *a, struct op *take_op);
