/*
 * `pgkeep demo`: three nodes and their store on loopback, in one folder, to look at and to break.
 */
#pragma once

int demo_main(int argc, char **argv);
