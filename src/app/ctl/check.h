/*
 * `pgkeep check FILE` (also --validate-config): everything about a node's configuration that can be found
 * out without starting anything, all at once.
 */
#pragma once

/* Exit status: 0 sound (warnings or none), 1 errors, 2 called wrongly. */
int check_main(int argc, char **argv);
