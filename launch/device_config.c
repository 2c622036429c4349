/* launch/device_config.c - what can be asked of a search's device. See device.h. */
#include <string.h>

#include "launch/device.h"

#define WHO \
    LMB_TEXT(lmb_device_config, name, "", "what tables and reports call it"), \
    LMB_TEXT(lmb_device_config, command, "", "that starts limbeck-time there, such as \"ssh pi ./limbeck-time\"")

const lmb_field lmb_device_identity[] = { WHO, LMB_FIELD_END };
const lmb_field lmb_device_fields[] = {
    WHO,
    LMB_REAL(lmb_device_config, timeout_s, 60, 0.1, 86400, "s",
             "that an answer may take beside what it measures, before the device counts as gone"),
    LMB_REAL(lmb_device_config, patience_s, 60, 0, 1e6, "s",
             "that a device which has answered before is tried again, before the search ends"),
    LMB_FIELD_END
};

lmb_status lmb_device_check(const lmb_device_config *c, lmb_error *err)
{
    if (!*c->name != !*c->command)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "compress.device has a %s and no %s: give both, as in {name: pi, command: \"ssh pi ./limbeck-time\"}",
            *c->name ? "name" : "command", *c->name ? "command" : "name");
    if (strlen(c->name) >= LMB_TIMER_DEVICE)
        return LMB_FAIL(err, LMB_E_ARG, "compress.device.name has %zu bytes; %d are the most", strlen(c->name),
                        LMB_TIMER_DEVICE - 1);
    return LMB_OK;
}
