/*
 * First configurations: `pgkeep init` asks, --generate-config looks at a running PostgreSQL,
 * --generate-sample-config writes an example.
 */
#pragma once

int init_main(int argc, char **argv);
int generate_config_main(int argc, char **argv);
int generate_sample_config_main(int argc, char **argv);
