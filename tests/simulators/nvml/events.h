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
        sscanf(event, "%llu %llu %d %95s %u %u", &out->eventType, &out->eventData, &times, uuid, &out->gpuInstanceId,
               &out->computeInstanceId);
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

/* ---- Of the system: the driver is bound and unbound ---- */

struct nvmlSystemEventSet_st { int next; unsigned long long types; };

static const char *system_event_at(int number)
{
    char key[24];
    snprintf(key, sizeof key, "system.%d", number);
    return get(&library, key);
}

nvmlReturn_t nvmlSystemEventSetCreate(nvmlSystemEventSetCreateRequest_t *request)
{
    ENTER(NULL);
    if (request->version != nvmlSystemEventSetCreateRequest_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    request->set = calloc(1, sizeof *request->set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemEventSetFree(nvmlSystemEventSetFreeRequest_t *request)
{
    ENTER(NULL);
    free(request->set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemRegisterEvents(nvmlSystemRegisterEventRequest_t *request)
{
    ENTER(NULL);
    if (request->version != nvmlSystemRegisterEventRequest_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    request->set->types = request->eventTypes;
    while (system_event_at(request->set->next)) /* what happened before is not recorded */
        request->set->next++;
    return NVML_SUCCESS;
}

/* Does not sleep: the agent asks with a timeout of 0. */
nvmlReturn_t nvmlSystemEventSetWait(nvmlSystemEventSetWaitRequest_t *request)
{
    ENTER(NULL);
    if (request->version != nvmlSystemEventSetWaitRequest_v1 || request->timeoutms != 0)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    request->numEvent = 0;
    int next = request->set->next;
    for (const char *event; (event = system_event_at(next)); next++) {
        nvmlSystemEventData_v1_t told;
        sscanf(event, "%llu %u", &told.eventType, &told.gpuId);
        if (told.eventType & request->set->types && request->numEvent++ < request->dataSize)
            request->data[request->numEvent - 1] = told;
    }
    if (request->numEvent > request->dataSize) /* numEvent says how many there are, and they stay */
        return NVML_ERROR_INSUFFICIENT_SIZE;
    request->set->next = next;
    return request->numEvent ? NVML_SUCCESS : NVML_ERROR_TIMEOUT;
}
