/* What every call of the simulated library goes through: counted, faulted, hung. */
#pragma once
#include <nvml.h>

#define SCENARIO "FALLOW_NVML_SCENARIO"
#include "../played.h"

enum { PER_BOARD = 7 };

struct nvmlDevice_st { char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE]; unsigned long long energy; };

static struct nvmlDevice_st handles[DEVICES];

static struct section *named(struct section *sections, int size, const char *uuid)
{
    for (int i = 0; i < size; i++) {
        const char *found = get(&sections[i], "uuid");
        if (found && strcmp(found, uuid) == 0)
            return &sections[i];
    }
    return NULL;
}

static struct section *find(nvmlDevice_t handle)
{
    struct section *board = named(devices, device_count, handle->uuid);
    return board ? board : named(instances, instance_count, handle->uuid);
}

/* Returns with the lock held, which leave() lets go of; a hang is waited out without it. */
static nvmlReturn_t enter(int slot, const char *function, nvmlDevice_t handle, struct section **section)
{
    double since = monotonic();
    pthread_mutex_lock(&lock);
    count(slot, function);
    for (;;) {
        reload();
        *section = handle ? find(handle) : &library;
        const char *fault = fault_of(*section, function);
        bool hangs = fault && strncmp(fault, "hang", 4) == 0;
        if (hangs && hung(fault, since))
            continue;
        if (fault && !hangs)
            return (nvmlReturn_t)atoi(fault);
        if (!text)
            return NVML_ERROR_DRIVER_NOT_LOADED;
        if (!initialisations && strncmp(function, "nvmlInit", 8) != 0)
            return NVML_ERROR_UNINITIALIZED;
        if (!*section) /* nvml.h: the handle of an instance that was destroyed is invalid */
            return strncmp(handle->uuid, "MIG-", 4) == 0 ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_GPU_IS_LOST;
        return NVML_SUCCESS;
    }
}

#define ENTER(handle)                                                                                      \
    struct section *section __attribute__((cleanup(leave))) = NULL;                                        \
    nvmlReturn_t entered = enter(__COUNTER__, __func__, handle, &section);                                 \
    if (entered != NVML_SUCCESS)                                                                           \
        return entered
