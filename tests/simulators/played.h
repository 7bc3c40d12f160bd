/* What every simulated library of a vendor does: it plays a scenario, which is read again whenever it was replaced, and
 * counts, faults and hangs its calls. Whoever includes this names the variable with the scenario's path as SCENARIO.
 */
#pragma once
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES = 64, INSTANCES = 64, PAIRS = 512, FUNCTIONS = 128 };

struct pair { char *key, *value; };
struct section { struct pair pairs[PAIRS]; int count; };
struct tally { char function[56]; unsigned long long calls; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen;
static char *text;
static struct section library, devices[DEVICES], instances[INSTANCES];
static int device_count, instance_count, initialisations;
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
    const char *path = getenv(SCENARIO);
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
        snprintf(path, sizeof path, "%s.calls", getenv(SCENARIO) ?: "/dev/null");
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

static const char *fault_in(const struct section *section, const char *function)
{
    char key[128];
    snprintf(key, sizeof key, "fault.%s", function);
    const char *fault = get(section, key);
    return fault ? fault : get(section, "fault.*");
}

/* The library's own, or else that of the section, if the call is about one. */
static const char *fault_of(const struct section *section, const char *function)
{
    const char *fault = fault_in(&library, function);
    return fault || !section ? fault : fault_in(section, function);
}

/* Whether a call since then still hangs by this fault; then it has waited a little without the lock. */
static bool hung(const char *fault, double since)
{
    if (monotonic() - since >= (fault[4] ? atof(fault + 4) : INFINITY))
        return false;
    pthread_mutex_unlock(&lock);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    pthread_mutex_lock(&lock);
    return true;
}

static void leave(struct section **section)
{
    (void)section;
    pthread_mutex_unlock(&lock);
}
