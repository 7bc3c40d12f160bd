/* What the driver tells unasked. */
#pragma once

struct nvmlEventSet_st {
    int next, repeated; /* the event that comes next, and how often it was told already */
    struct { char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE]; unsigned long long types; } registered[DEVICES];
};

static const char *event_at(int number)
{
    char key[24];
    snprintf(key, sizeof key, "event.%d", number);
    return get(&library, key);
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out)
{
    ENTER(NULL);
    *out = calloc(1, sizeof **out);
    while (event_at((*out)->next)) /* what happened before is lost */
        (*out)->next++;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    ENTER(NULL);
    free(set);
    return NVML_SUCCESS;
}

NUMBER_FUNCTION(nvmlDeviceGetSupportedEventTypes, unsigned long long, "event_types")

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types, nvmlEventSet_t set)
{
    ENTER(handle);
    unsigned long long supported;
    NUMBER(unsigned long long, "event_types", &supported);
    if (types & ~supported)
        return NVML_ERROR_NOT_SUPPORTED;
    strncpy(set->registered[section - devices].uuid, handle->uuid, sizeof handle->uuid - 1);
    set->registered[section - devices].types |= types;
    return NVML_SUCCESS;
}

static int next_event(nvmlEventSet_t set, nvmlEventData_t *out)
{
    for (const char *event; (event = event_at(set->next)); set->next++, set->repeated = 0) {
        char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
        int times;
        sscanf(event, "%llu %llu %d %95s %u", &out->eventType, &out->eventData, &times, uuid, &out->gpuInstanceId);
        out->computeInstanceId = ~0u;
        for (int i = 0; set->repeated < times && i < DEVICES; i++)
            if (strcmp(set->registered[i].uuid, uuid) == 0 && set->registered[i].types & out->eventType) {
                set->repeated++;
                for (int slot = 0; slot < DEVICES; slot++)
                    if (strcmp(handles[slot].uuid, uuid) == 0)
                        out->device = &handles[slot];
                return 1;
            }
    }
    return 0;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *out, unsigned int timeout_ms)
{
    ENTER(NULL);
    for (double until = monotonic() + timeout_ms / 1e3; !next_event(set, out); reload()) {
        if (monotonic() >= until)
            return NVML_ERROR_TIMEOUT;
        pthread_mutex_unlock(&lock);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        pthread_mutex_lock(&lock);
    }
    return NVML_SUCCESS;
}
