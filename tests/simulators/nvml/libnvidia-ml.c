/* A simulated libnvidia-ml.so.1, compiled against NVIDIA's own nvml.h, so that a wrong prototype or structure is a
 * compile error.
 *
 * The scenario file that FALLOW_NVML_SCENARIO names says what each function answers (scenario.py writes it). It is
 * read again whenever it was replaced, under a running process. A value that the scenario does not hold is
 * NVML_ERROR_NOT_SUPPORTED, as on a real board. Beside it, <scenario>.calls counts the calls of all processes. Into the
 * file that FALLOW_NVML_ENERGY_LOG names each energy value that is given out is noted, and none is given out twice.
 *
 *   [library]                          [device]                       one section a device, in order of index
 *   driver_version=580.95.05           uuid=GPU-…                     and the keys asked for below
 *   fault.nvmlInitWithFlags=18         fault.nvmlDeviceGetUUID=15     the function returns this nvmlReturn_t
 *   fault.*=9                          fault.*=hang 2.5               or hangs, for seconds, or for ever without a
 *                                                                     number; until the scenario says otherwise
 *                                      field.186=uint 67030           a field value: type and value, by id[.scope]
 *                                      field.83=energy                energy_mj + power_mw since energy_since_s
 *                                      field.82=error 4
 *                                      link.0=2 0000:c1:00.0          a link: type and address of its far end; "down"
 *                                      fabric=3 0 9 <32 hex digits>   state, status, clique and cluster
 *   [instance]                         a MIG instance: parent=GPU-…, mig_index=, gpu_instance= and keys as of a board
 *   event.0=8 79 5 GPU-… 4294967295 4294967295                       an event: type, data, times, device, GPU instance and
 *                                                                     compute instance; more follow under a running process
 *   system.0=1 23                                                    an event of the system: type, number of the device
 */
#include "calls.h"

/* ---- Answers ---- */

static nvmlReturn_t number(const struct section *section, const char *key, unsigned long long *out)
{
    const char *value = get(section, key);
    if (!value)
        return NVML_ERROR_NOT_SUPPORTED;
    *out = strtoull(value, NULL, 10); /* -1 becomes all ones: NVML_VALUE_NOT_AVAILABLE */
    return NVML_SUCCESS;
}

static nvmlReturn_t string(const struct section *section, const char *key, char *out, unsigned int length)
{
    const char *value = get(section, key);
    if (!value)
        return NVML_ERROR_NOT_SUPPORTED;
    if (strlen(value) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, value);
    return NVML_SUCCESS;
}

#define NUMBER(type, key, out)                                                                             \
    do {                                                                                                   \
        unsigned long long value;                                                                          \
        nvmlReturn_t found = number(section, key, &value);                                                 \
        if (found != NVML_SUCCESS)                                                                         \
            return found;                                                                                  \
        *(out) = (type)value;                                                                              \
    } while (0)

#define NUMBER_FUNCTION(function, type, key)                                                               \
    nvmlReturn_t function(nvmlDevice_t handle, type *out)                                                  \
    {                                                                                                      \
        ENTER(handle);                                                                                     \
        NUMBER(type, key, out);                                                                            \
        return NVML_SUCCESS;                                                                               \
    }

#define PAIR_FUNCTION(function, type, key)                                                                 \
    nvmlReturn_t function(nvmlDevice_t handle, type *current, type *pending)                               \
    {                                                                                                      \
        ENTER(handle);                                                                                     \
        NUMBER(type, key ".current", current);                                                             \
        NUMBER(type, key ".pending", pending);                                                             \
        return NVML_SUCCESS;                                                                               \
    }

#define STRING_FUNCTION(function, key)                                                                     \
    nvmlReturn_t function(nvmlDevice_t handle, char *out, unsigned int length)                             \
    {                                                                                                      \
        ENTER(handle);                                                                                     \
        return string(section, key, out, length);                                                          \
    }

NUMBER_FUNCTION(nvmlDeviceGetMinorNumber, unsigned int, "minor")
NUMBER_FUNCTION(nvmlDeviceGetComputeMode, nvmlComputeMode_t, "compute_mode")
NUMBER_FUNCTION(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, "persistence_mode")
NUMBER_FUNCTION(nvmlDeviceGetPerformanceState, nvmlPstates_t, "performance_state")
NUMBER_FUNCTION(nvmlDeviceGetPowerUsage, unsigned int, "power_mw")
NUMBER_FUNCTION(nvmlDeviceGetPowerManagementLimit, unsigned int, "power_limit_mw")
NUMBER_FUNCTION(nvmlDeviceGetEnforcedPowerLimit, unsigned int, "power_limit_mw")
NUMBER_FUNCTION(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, "pcie_generation")
NUMBER_FUNCTION(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, "pcie_lanes")
NUMBER_FUNCTION(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, "pcie_generation_limit")
NUMBER_FUNCTION(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, "pcie_lanes_limit")
PAIR_FUNCTION(nvmlDeviceGetMigMode, unsigned int, "mig")
PAIR_FUNCTION(nvmlDeviceGetEccMode, nvmlEnableState_t, "ecc")
STRING_FUNCTION(nvmlDeviceGetName, "name")
STRING_FUNCTION(nvmlDeviceGetUUID, "uuid")
STRING_FUNCTION(nvmlDeviceGetSerial, "serial")

/* ---- Library and handles ---- */

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    ENTER(NULL);
    if (device_count == 0 && !(flags & NVML_INIT_FLAG_NO_GPUS))
        return NVML_ERROR_GPU_NOT_FOUND;
    initialisations++;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
    ENTER(NULL);
    initialisations--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    static __thread char message[48];
    snprintf(message, sizeof message, "simulated NVML error %d", (int)result);
    return message;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int length)
{
    ENTER(NULL);
    return string(section, "driver_version", out, length);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *out)
{
    ENTER(NULL);
    *out = device_count;
    return NVML_SUCCESS;
}

static nvmlReturn_t handle_of(int index, const char *function, nvmlDevice_t *out)
{
    const char *uuid = get(&devices[index], "uuid"), *fault = fault_of(&devices[index], function);
    if (fault && strncmp(fault, "hang", 4) != 0)
        return (nvmlReturn_t)atoi(fault);
    int slot = 0; /* a handle stays with its board when others come and go */
    while (slot < DEVICES - 1 && handles[slot].uuid[0] && strcmp(handles[slot].uuid, uuid) != 0)
        slot++;
    strncpy(handles[slot].uuid, uuid, sizeof handles->uuid - 1);
    *out = &handles[slot];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out)
{
    ENTER(NULL);
    return index < (unsigned)device_count ? handle_of(index, __func__, out) : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out)
{
    ENTER(NULL);
    for (int i = 0; i < device_count; i++)
        if (strcmp(get(&devices[i], "uuid"), uuid) == 0)
            return handle_of(i, __func__, out);
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned int *out)
{
    ENTER(handle);
    *out = section - devices;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *out)
{
    ENTER(handle);
    memset(out, 0, sizeof *out);
    NUMBER(unsigned int, "pci_domain", &out->domain);
    NUMBER(unsigned int, "pci_bus", &out->bus);
    NUMBER(unsigned int, "pci_device", &out->device);
    snprintf(out->busId, sizeof out->busId, NVML_DEVICE_PCI_BUS_ID_FMT, NVML_DEVICE_PCI_BUS_ID_FMT_ARGS(out));
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff,
             out->device & 0x1f);
    return NVML_SUCCESS;
}

/* ---- Telemetry ---- */

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *out)
{
    ENTER(handle);
    NUMBER(unsigned int, "utilization_gpu", &out->gpu);
    NUMBER(unsigned int, "utilization_memory", &out->memory);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *out)
{
    ENTER(handle);
    unsigned long long reserved;
    NUMBER(unsigned long long, "memory_total", &out->total);
    NUMBER(unsigned long long, "memory_free", &out->free);
    NUMBER(unsigned long long, "memory_used", &out->used);
    NUMBER(unsigned long long, "memory_reserved", &reserved);
    out->used += reserved; /* nvml.h: "Sum of Reserved and Allocated" */
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *out)
{
    ENTER(handle);
    if (out->version != nvmlMemory_v2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NUMBER(unsigned long long, "memory_total", &out->total);
    NUMBER(unsigned long long, "memory_reserved", &out->reserved);
    NUMBER(unsigned long long, "memory_free", &out->free);
    NUMBER(unsigned long long, "memory_used", &out->used);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, nvmlTemperatureSensors_t sensor, unsigned int *out)
{
    ENTER(handle);
    if (sensor != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    NUMBER(unsigned int, "temperature", out);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, nvmlTemperature_t *out)
{
    ENTER(handle);
    if (out->version != nvmlTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (out->sensorType != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    NUMBER(int, "temperature", &out->temperature);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t handle, nvmlMarginTemperature_t *out)
{
    ENTER(handle);
    if (out->version != nvmlMarginTemperature_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NUMBER(int, "temperature_margin", &out->marginTemperature);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t handle, nvmlTemperatureThresholds_t threshold,
                                               unsigned int *out)
{
    ENTER(handle);
    if (threshold != NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        return NVML_ERROR_NOT_SUPPORTED;
    NUMBER(unsigned int, "temperature_slowdown", out);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, nvmlClockType_t type, unsigned int *out)
{
    static const char *keys[NVML_CLOCK_COUNT] = {"clock.graphics", "clock.sm", "clock.memory", "clock.video"};
    ENTER(handle);
    if ((unsigned)type >= NVML_CLOCK_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    NUMBER(unsigned int, keys[type], out);
    return NVML_SUCCESS;
}

/* A list is "pid:bytes pid:bytes", without ":bytes" where the memory is not available. */
static nvmlReturn_t processes(const struct section *section, const char *key, unsigned int *size,
                              nvmlProcessInfo_t *out)
{
    const char *list = get(section, key);
    unsigned int found = 0;
    if (!list)
        return NVML_ERROR_NOT_SUPPORTED;
    for (char *end; *list; list = end) {
        nvmlProcessInfo_t process = {.gpuInstanceId = ~0u, .computeInstanceId = ~0u};
        process.pid = strtoul(list, &end, 10);
        process.usedGpuMemory = *end == ':' ? strtoull(end + 1, &end, 10) : (unsigned long long)NVML_VALUE_NOT_AVAILABLE;
        if (found < *size && out)
            out[found] = process;
        found++;
        end += *end == ' ';
    }
    nvmlReturn_t result = found > *size ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
    *size = found;
    return result;
}

#define PROCESS_FUNCTION(function, key)                                                                    \
    nvmlReturn_t function(nvmlDevice_t handle, unsigned int *size, nvmlProcessInfo_t *out)                 \
    {                                                                                                      \
        ENTER(handle);                                                                                     \
        return processes(section, key, size, out);                                                         \
    }

PROCESS_FUNCTION(nvmlDeviceGetComputeRunningProcesses_v3, "processes.compute")
PROCESS_FUNCTION(nvmlDeviceGetGraphicsRunningProcesses_v3, "processes.graphics")
PROCESS_FUNCTION(nvmlDeviceGetMPSComputeRunningProcesses_v3, "processes.mps")

static unsigned long long energy(const struct section *section)
{
    unsigned long long base = 0, power = 0;
    const char *since = get(section, "energy_since_s");
    number(section, "energy_mj", &base);
    number(section, "power_mw", &power);
    return since ? base + (unsigned long long)(power * (monotonic() - atof(since))) : base;
}

/* One write to a file opened for appending: a process that is killed has noted a value whole, or not at all. Noted
 * before it is given out, so that nobody has a value that the note lacks. */
static unsigned long long noted_energy(nvmlDevice_t handle, unsigned long long value)
{
    const char *path = getenv("FALLOW_NVML_ENERGY_LOG");
    if (!path)
        return value;
    handle->energy = value > handle->energy ? value : handle->energy + 1;
    char line[128];
    int length = snprintf(line, sizeof line, "%s %llu\n", handle->uuid, handle->energy);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, length) != length)
        abort(); /* a test that cannot be audited */
    close(file);
    return handle->energy;
}

static nvmlReturn_t field(nvmlDevice_t handle, const struct section *section, nvmlFieldValue_t *out)
{
    char key[64], type[16] = "", value[48] = "";
    snprintf(key, sizeof key, out->scopeId ? "field.%u.%u" : "field.%u", out->fieldId, out->scopeId);
    const char *found = get(section, key);
    if (!found || sscanf(found, "%15s %47s", type, value) < 1)
        return NVML_ERROR_NOT_SUPPORTED;
    if (strcmp(type, "error") == 0)
        return (nvmlReturn_t)atoi(value);
    if (strcmp(type, "double") == 0) {
        out->valueType = NVML_VALUE_TYPE_DOUBLE;
        out->value.dVal = atof(value);
    } else if (strcmp(type, "int") == 0) {
        out->valueType = NVML_VALUE_TYPE_SIGNED_INT;
        out->value.siVal = atoi(value);
    } else if (strcmp(type, "uint") == 0) {
        out->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        out->value.uiVal = strtoul(value, NULL, 10);
    } else {
        out->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
        bool is_energy = strcmp(type, "energy") == 0;
        out->value.ullVal = is_energy ? noted_energy(handle, energy(section)) : strtoull(value, NULL, 10);
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t handle, unsigned long long *out)
{
    ENTER(handle);
    *out = noted_energy(handle, energy(section));
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int size, nvmlFieldValue_t *values)
{
    ENTER(handle);
    for (int i = 0; i < size; i++) {
        memset(&values[i].value, 0xAA, sizeof values[i].value); /* nvml.h: undefined unless it is a success */
        values[i].timestamp = (long long)time(NULL) * 1000000;
        values[i].nvmlReturn = field(handle, section, &values[i]);
    }
    return NVML_SUCCESS;
}

/* nvml.h has a structure of the flag alone, without the version that the binding puts before it. */
nvmlReturn_t nvmlDeviceGetUnrepairableMemoryFlag_v1(nvmlDevice_t handle, nvmlUnrepairableMemoryStatus_v1_t *out)
{
    ENTER(handle);
    NUMBER(unsigned int, "memory_unrepairable", &out->bUnrepairableMemory);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t handle, nvmlEccSramErrorStatus_t *out)
{
    ENTER(handle);
    if (out->version != nvmlEccSramErrorStatus_v1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NUMBER(unsigned int, "sram_threshold_exceeded", &out->bThresholdExceeded);
    return NVML_SUCCESS;
}

#include "links.h"
#include "events.h"
#include "gpm.h"
#include "instances.h"
