/* Links to other devices: where they lead, and the fabric that they make up. */
#pragma once

static nvmlReturn_t far_end(const struct section *section, unsigned int link, const char **out)
{
    char key[16];
    if (!get(section, "link.0"))
        return NVML_ERROR_NOT_SUPPORTED;
    snprintf(key, sizeof key, "link.%u", link);
    *out = get(section, key);
    return *out ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

#define FAR_END(link, name)                                                                                \
    const char *name;                                                                                      \
    nvmlReturn_t named = far_end(section, link, &name);                                                    \
    if (named != NVML_SUCCESS)                                                                             \
        return named

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t handle, unsigned int link, nvmlEnableState_t *out)
{
    ENTER(handle);
    FAR_END(link, end);
    *out = strcmp(end, "down") == 0 ? NVML_FEATURE_DISABLED : NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t handle, unsigned int link,
                                                 nvmlIntNvLinkDeviceType_t *out)
{
    ENTER(handle);
    FAR_END(link, end);
    *out = (nvmlIntNvLinkDeviceType_t)atoi(end);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t handle, unsigned int link, nvmlPciInfo_t *out)
{
    ENTER(handle);
    FAR_END(link, end);
    memset(out, 0, sizeof *out);
    return sscanf(end, "%*d %x:%x:%x", &out->domain, &out->bus, &out->device) == 3 ? NVML_SUCCESS
                                                                                   : NVML_ERROR_UNKNOWN;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t handle, nvmlGpuFabricInfoV_t *out)
{
    ENTER(handle);
    const char *fabric = get(section, "fabric");
    unsigned int state, status, newest;
    int cluster, has_summary = out->version == nvmlGpuFabricInfo_v3;
    if (!fabric)
        return NVML_ERROR_NOT_SUPPORTED;
    NUMBER(unsigned int, "fabric_newest", &newest);
    if (out->version != nvmlGpuFabricInfo_v2 && !(has_summary && newest >= 3))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    sscanf(fabric, "%u %u %u %n", &state, &status, &out->cliqueId, &cluster);
    out->state = (nvmlGpuFabricState_t)state;
    out->status = (nvmlReturn_t)status;
    NUMBER(unsigned int, "fabric_health", &out->healthMask);
    if (has_summary)
        NUMBER(unsigned char, "fabric_summary", &out->healthSummary);
    for (int i = 0; i < NVML_GPU_FABRIC_UUID_LEN; i++)
        sscanf(fabric + cluster + 2 * i, "%2hhx", &out->clusterUuid[i]);
    return NVML_SUCCESS;
}
