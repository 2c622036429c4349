/* tests/launch/played_nvml.c - NVIDIA's management library as launch/doctor_modes.c knows it, for GPUs whose PCI bus
 * says how they are: 01 well, 02 cut into instances, 03 with errors of its memory, 04 asleep between processes, 05 without
 * ECC and MIG; others are not there. */
#include <string.h>

enum { GOOD = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *where, void **device);
int nvmlDeviceGetEccMode(void *device, int *now, int *next);
int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *n);
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next);
int nvmlDeviceGetPersistenceMode(void *device, int *now);

static char gpu[6];
static int is(const void *device, int which) { return device == &gpu[which]; }

int nvmlInit_v2(void) { return GOOD; }
int nvmlShutdown(void) { return GOOD; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *where, void **device)
{
    if (strncmp(where, "0000:0", 6) != 0 || where[6] < '1' || where[6] > '5')
        return NOT_FOUND;
    *device = &gpu[where[6] - '0'];
    return GOOD;
}

int nvmlDeviceGetEccMode(void *device, int *now, int *next)
{
    *now = *next = 1;
    return is(device, 5) ? NOT_SUPPORTED : GOOD;
}

int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *n)
{
    *n = type == 1 && counter == 0 && is(device, 3) ? 2 : 0;
    return is(device, 5) ? NOT_SUPPORTED : GOOD;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next)
{
    *now = *next = (unsigned)is(device, 2);
    return is(device, 5) ? NOT_SUPPORTED : GOOD;
}

int nvmlDeviceGetPersistenceMode(void *device, int *now)
{
    *now = !is(device, 4);
    return GOOD;
}
