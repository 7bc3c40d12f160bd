/* What every call of the simulated library goes through: counted, faulted, hung. */
#pragma once
#include "dcmi.h"

#define SCENARIO "FALLOW_DCMI_SCENARIO"
#include "../played.h"

enum { NO_DRIVER = -8005, NOBODY = -1 };

static int integer(const struct section *section, const char *key)
{
    const char *value = get(section, key);
    return value ? atoi(value) : 0;
}

/* Of a card alone (chip NOBODY): its first chip. */
static struct section *find(int card, int chip)
{
    for (int i = 0; i < device_count; i++)
        if (integer(&devices[i], "card") == card && (chip == NOBODY || integer(&devices[i], "chip") == chip))
            return &devices[i];
    return NULL;
}

/* Returns with the lock held, which leave() lets go of; a hang is waited out without it. */
static int enter(int slot, const char *function, int card, int chip, struct section **section)
{
    double since = monotonic();
    pthread_mutex_lock(&lock);
    count(slot, function);
    for (;;) {
        reload();
        *section = card == NOBODY ? &library : find(card, chip);
        const char *fault = fault_of(*section, function);
        bool hangs = fault && strncmp(fault, "hang", 4) == 0;
        if (hangs && hung(fault, since))
            continue;
        if (fault && !hangs)
            return atoi(fault);
        if (!text || (!initialisations && strcmp(function, "dcmi_init") != 0))
            return NO_DRIVER;
        return *section ? DCMI_OK : DCMI_ERR_CODE_DEVICE_NOT_EXIST;
    }
}

#define ENTER(card, chip)                                                                                  \
    struct section *section __attribute__((cleanup(leave))) = NULL;                                        \
    int entered = enter(__COUNTER__, __func__, card, chip, &section);                                      \
    if (entered != DCMI_OK)                                                                                \
        return entered
