/* The scenario of the simulated library, and what every call goes through: counted, faulted, hung. */
#pragma once
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <nvml.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES = 64, INSTANCES = 64, PER_BOARD = 7, PAIRS = 512, FUNCTIONS = 128 };

struct pair { char *key, *value; };
struct section { struct pair pairs[PAIRS]; int count; };
struct nvmlDevice_st { char uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE]; unsigned long long energy; };
struct tally { char function[56]; unsigned long long calls; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen;
static char *text;
static struct section library, devices[DEVICES], instances[INSTANCES];
static int device_count, instance_count, initialisations;
static struct nvmlDevice_st handles[DEVICES];
static struct tally *tallies;

/* ---- The scenario ---- */

static const char *get(const struct section *section, const char *key)
{
    for (int i = 0; i < section->count; i++)
        if (strcmp(section->pairs[i].key, key) == 0)
            return section->pairs[i].value;
    return NULL;
}

static void parse(char *cursor)
{
    struct section *section = &library;
    device_count = instance_count = library.count = 0;
    for (char *line; (line = strsep(&cursor, "\n"));) {
        char *equals = strchr(line, '=');
        if (strcmp(line, "[device]") == 0 && device_count < DEVICES) {
            section = &devices[device_count++];
            section->count = 0;
        } else if (strcmp(line, "[instance]") == 0 && instance_count < INSTANCES) {
            section = &instances[instance_count++];
            section->count = 0;
        } else if (equals && section->count < PAIRS) {
            *equals = '\0';
            section->pairs[section->count++] = (struct pair){line, equals + 1};
        }
    }
}

static void reload(void)
{
    const char *path = getenv("FALLOW_NVML_SCENARIO");
    struct stat found;
    if (!path || stat(path, &found) != 0
        || (found.st_ino == seen.st_ino && found.st_mtim.tv_sec == seen.st_mtim.tv_sec
            && found.st_mtim.tv_nsec == seen.st_mtim.tv_nsec))
        return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &seen) != 0)
        return;
    free(text);
    text = calloc(1, seen.st_size + 1);
    if (text && read(file, text, seen.st_size) == seen.st_size)
        parse(text);
    close(file);
}

/* ---- Calls: counted, faulted, hung ---- */

static void count(int slot, const char *function)
{
    if (!tallies) {
        char path[4096];
        snprintf(path, sizeof path, "%s.calls", getenv("FALLOW_NVML_SCENARIO") ?: "/dev/null");
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0 || ftruncate(file, FUNCTIONS * sizeof *tallies) != 0)
            return;
        void *shared = mmap(NULL, FUNCTIONS * sizeof *tallies, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (shared == MAP_FAILED)
            return;
        tallies = shared;
    }
    strncpy(tallies[slot].function, function, sizeof tallies->function - 1);
    __atomic_add_fetch(&tallies[slot].calls, 1, __ATOMIC_RELAXED);
}

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static const char *fault_of(const struct section *section, const char *function)
{
    char key[128];
    snprintf(key, sizeof key, "fault.%s", function);
    const char *fault = get(section, key);
    return fault ? fault : get(section, "fault.*");
}

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
    for (;; pthread_mutex_lock(&lock)) {
        reload();
        *section = handle ? find(handle) : &library;
        const char *fault = fault_of(&library, function);
        if (!fault && handle && *section)
            fault = fault_of(*section, function);
        if (fault && strncmp(fault, "hang", 4) == 0) {
            double seconds = fault[4] ? atof(fault + 4) : INFINITY;
            if (monotonic() - since < seconds) {
                pthread_mutex_unlock(&lock);
                nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
                continue;
            }
        } else if (fault)
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

static void leave(struct section **section)
{
    (void)section;
    pthread_mutex_unlock(&lock);
}

#define ENTER(handle)                                                                                      \
    struct section *section __attribute__((cleanup(leave))) = NULL;                                        \
    nvmlReturn_t entered = enter(__COUNTER__, __func__, handle, &section);                                 \
    if (entered != NVML_SUCCESS)                                                                           \
        return entered
