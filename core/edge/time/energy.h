/* core/edge/time/energy.h - what the processor has used, where the machine lets it be read.
 *
 * Idea: Linux shows the counters of RAPL (running average power limit; Intel since Sandy Bridge, AMD since Zen) as
 * files, one folder a package. They count the whole package with all that runs on it, in steps of about a
 * millisecond: keep the machine quiet and measure for a good while. Since 2020 (CVE-2020-8694) only root may read
 * them, and most virtual machines have none.
 *
 *   files    <root>/intel-rapl:<n>/{name, energy_uj, max_energy_range_uj}; of these the zones called package-<n>
 *   source   Linux, Documentation/power/powercap/powercap.rst
 */
#ifndef LMB_CORE_EDGE_TIME_ENERGY_H
#define LMB_CORE_EDGE_TIME_ENERGY_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LMB_ENERGY_ROOT "/sys/class/powercap"
enum { LMB_ENERGY_ZONES = 16, LMB_ENERGY_PATH = 512 };

typedef struct lmb_energy {
    struct {
        char path[LMB_ENERGY_PATH];
        double last, range; /* range: where the counter begins again */
    } zone[LMB_ENERGY_ZONES];
    int n;
    double used; /* microjoules since it was opened */
} lmb_energy;

/* The counters of all packages. false: there is nothing to read, and `why` is a sentence without its full stop. */
bool lmb_energy_open(const char *root, lmb_energy *e, char *why, size_t cap);
/* Microjoules since it was opened, of all packages; call it at least every minute, before a counter has come round.
 * false: a counter is gone. */
bool lmb_energy_read(lmb_energy *e, double *microjoules);

#ifdef __cplusplus
}
#endif
#endif
