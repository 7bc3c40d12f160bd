/* MIG: the instances of a board. As nvml.h warns, a handle is used again: the one of a place on a board is that of
 * whatever instance is at this place when it is asked for. */
#pragma once

static struct { char board[NVML_DEVICE_UUID_V2_BUFFER_SIZE]; struct nvmlDevice_st handle; } places[DEVICES * PER_BOARD];

static int is_partitioned(const struct section *board)
{
    const char *mode = get(board, "mig.current");
    return mode && atoi(mode) == NVML_DEVICE_MIG_ENABLE;
}

static int is_of(const struct section *instance, const struct section *board, const char *key, unsigned int number)
{
    return strcmp(get(instance, "parent"), get(board, "uuid")) == 0
           && strtoul(get(instance, key), NULL, 10) == number;
}

static struct section *instance_of(const struct section *board, const char *key, unsigned int number)
{
    for (int i = 0; is_partitioned(board) && i < instance_count; i++)
        if (is_of(&instances[i], board, key, number))
            return &instances[i];
    return NULL;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, unsigned int *out)
{
    ENTER(handle);
    *out = is_partitioned(section) ? PER_BOARD : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t handle, unsigned int index, nvmlDevice_t *out)
{
    ENTER(handle);
    if (index >= PER_BOARD)
        return NVML_ERROR_INVALID_ARGUMENT;
    const struct section *instance = instance_of(section, "mig_index", index);
    if (!instance)
        return NVML_ERROR_NOT_FOUND;
    int board = 0;
    while (places[board].board[0] && strcmp(places[board].board, handle->uuid) != 0)
        board += PER_BOARD;
    strcpy(places[board].board, handle->uuid);
    strncpy(places[board + index].handle.uuid, get(instance, "uuid"), sizeof handle->uuid - 1);
    *out = &places[board + index].handle;
    return NVML_SUCCESS;
}

NUMBER_FUNCTION(nvmlDeviceGetGpuInstanceId, unsigned int, "gpu_instance")
NUMBER_FUNCTION(nvmlDeviceGetComputeInstanceId, unsigned int, "compute_instance")

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t handle, nvmlDeviceAttributes_t *out)
{
    ENTER(handle);
    memset(out, 0, sizeof *out);
    NUMBER(unsigned int, "slices.gpu", &out->gpuInstanceSliceCount);
    NUMBER(unsigned int, "slices.compute", &out->computeInstanceSliceCount);
    NUMBER(unsigned long long, "memory_mib", &out->memorySizeMB);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t handle, unsigned int gpu_instance, nvmlGpmSample_t out)
{
    ENTER(handle);
    const struct section *instance = instance_of(section, "gpu_instance", gpu_instance);
    if (!instance)
        return NVML_ERROR_NOT_FOUND;
    if (!get(instance, "sm_active"))
        return NVML_ERROR_NOT_SUPPORTED;
    take(instance, out);
    return NVML_SUCCESS;
}
