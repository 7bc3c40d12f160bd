/* GPM: samples of what ran, and what two of them say. `sm_active` is the share that ran at the later one, in percent;
 * "error 4" is what the driver answers instead. */
#pragma once

struct nvmlGpmSample_st {
    double taken_s, percent;
    nvmlReturn_t result;
    char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
};

static void take(const struct section *section, nvmlGpmSample_t out)
{
    const char *active = get(section, "sm_active");
    out->taken_s = monotonic();
    out->result = strncmp(active, "error ", 6) == 0 ? (nvmlReturn_t)atoi(active + 6) : NVML_SUCCESS;
    out->percent = atof(active);
    strncpy(out->uuid, get(section, "uuid"), sizeof out->uuid - 1);
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t handle, nvmlGpmSupport_t *out)
{
    ENTER(handle);
    if (out->version != NVML_GPM_SUPPORT_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    out->isSupportedDevice = get(section, "sm_active") != NULL;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *out)
{
    ENTER(NULL);
    *out = calloc(1, sizeof **out);
    return *out ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    ENTER(NULL);
    if (!sample)
        return NVML_ERROR_INVALID_ARGUMENT;
    free(sample);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t handle, nvmlGpmSample_t out)
{
    ENTER(handle);
    if (!get(section, "sm_active"))
        return NVML_ERROR_NOT_SUPPORTED;
    take(section, out);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *out)
{
    ENTER(NULL);
    if (out->version != NVML_GPM_METRICS_GET_VERSION)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (strcmp(out->sample1->uuid, out->sample2->uuid) != 0 || out->sample2->taken_s - out->sample1->taken_s < 0.1)
        return NVML_ERROR_INVALID_ARGUMENT; /* of two devices, in the wrong order, or closer than nvml.h allows */
    for (unsigned int i = 0; i < out->numMetrics; i++) {
        int known = out->metrics[i].metricId == NVML_GPM_METRIC_SM_UTIL;
        out->metrics[i].nvmlReturn = known ? out->sample2->result : NVML_ERROR_NOT_SUPPORTED;
        out->metrics[i].value = known && !out->sample2->result ? out->sample2->percent : -1e300;
    }
    return NVML_SUCCESS;
}
