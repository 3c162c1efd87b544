/*
 * How much the processors of this host are wanted: /proc/pressure/cpu, see Documentation/accounting/psi.rst of Linux.
 */
#pragma once

/* Percent of the last ten seconds in which somebody waited for a processor; -1: this kernel does not tell. */
int pressure_cpu_percent(void);
