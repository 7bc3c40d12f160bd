/* A simulated libdcmi.so: Huawei's management library for Ascend, first generation (cards and chips).
 *
 * The scenario file that FALLOW_DCMI_SCENARIO names says what each function answers (scenario.py writes it). It is
 * read again whenever it was replaced, under a running process. A value that the scenario does not hold is
 * DCMI_ERR_CODE_NOT_SUPPORT. Beside it, <scenario>.calls counts the calls of all processes.
 *
 *   driver_version=25.5.1              [device]                       one section a chip, in order of card and chip
 *   fault.dcmi_init=-8005              card=0                         and the keys asked for below
 *   fault.*=-8009                      fault.dcmi_get_device_health=-8012   the function returns this code
 *                                      fault.*=hang 2.5               or hangs, for seconds, or for ever without a
 *                                                                     number; until the scenario says otherwise
 *                                      processes=123:4096 7:1         process id and bytes
 *                                      error_codes=40f84e00 80e01801  hexadecimal
 */
#include "calls.h"

/* ---- Answers ---- */

#define NUMBER(type, key, out)                                                                             \
    do {                                                                                                   \
        const char *found = get(section, key);                                                             \
        if (!found)                                                                                        \
            return DCMI_ERR_CODE_NOT_SUPPORT;                                                              \
        *(out) = (type)strtoll(found, NULL, 0);                                                            \
    } while (0)

#define NUMBER_FUNCTION(function, type, key)                                                               \
    int function(int card, int chip, type *out)                                                            \
    {                                                                                                      \
        ENTER(card, chip);                                                                                 \
        NUMBER(type, key, out);                                                                            \
        return DCMI_OK;                                                                                    \
    }

NUMBER_FUNCTION(dcmi_get_device_power_info, int, "power")
NUMBER_FUNCTION(dcmi_get_device_temperature, int, "temperature")
NUMBER_FUNCTION(dcmi_get_device_health, unsigned int, "health")
NUMBER_FUNCTION(dcmi_get_device_type, enum dcmi_unit_type, "type")

static int string(const char *value, char *out, unsigned int length)
{
    if (!value)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    if (strlen(value) >= length)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    strcpy(out, value);
    return DCMI_OK;
}

/* ---- The library and its devices ---- */

int dcmi_init(void)
{
    ENTER(NOBODY, NOBODY);
    initialisations++;
    return DCMI_OK;
}

int dcmi_get_driver_version(char *out, unsigned int length)
{
    ENTER(NOBODY, NOBODY);
    return string(get(section, "driver_version"), out, length);
}

int dcmi_get_card_list(int *number, int *cards, int length)
{
    ENTER(NOBODY, NOBODY);
    *number = 0;
    for (int i = 0; i < device_count; i++) {
        int card = integer(&devices[i], "card");
        if (find(card, NOBODY) == &devices[i] && *number < length)
            cards[(*number)++] = card;
    }
    return DCMI_OK;
}

int dcmi_get_device_id_in_card(int card, int *chips, int *mcu, int *cpu)
{
    ENTER(card, NOBODY);
    *chips = 0;
    *mcu = *cpu = -1;
    for (int i = 0; i < device_count; i++)
        if (integer(&devices[i], "card") == card && integer(&devices[i], "chip") >= *chips)
            *chips = integer(&devices[i], "chip") + 1;
    return DCMI_OK;
}

int dcmi_get_device_logic_id(int *out, int card, int chip)
{
    ENTER(card, chip);
    *out = section - devices;
    return DCMI_OK;
}

int dcmi_get_device_phyid_from_logicid(unsigned int logic, unsigned int *out)
{
    ENTER(NOBODY, NOBODY);
    if (logic >= (unsigned)device_count)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    section = &devices[logic];
    NUMBER(unsigned int, "physical", out);
    return DCMI_OK;
}

/* ---- Identity ---- */

int dcmi_get_device_chip_info_v2(int card, int chip, struct dcmi_chip_info_v2 *out)
{
    ENTER(card, chip);
    const char *name = get(section, "name");
    if (!name)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    memset(out, 0, sizeof *out);
    strcpy((char *)out->chip_type, "Ascend");
    strncpy((char *)out->chip_name, name, sizeof out->chip_name);
    strcpy((char *)out->chip_ver, "V1");
    out->aicore_cnt = 24;
    return DCMI_OK;
}

int dcmi_get_device_die_v2(int card, int chip, enum dcmi_die_type type, struct dcmi_die_id *out)
{
    ENTER(card, chip);
    const char *die = type == VDIE ? get(section, "die") : NULL;
    if (!die)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    for (int i = 0; i < 5; i++)
        out->soc_die[i] = strtoul(die, (char **)&die, 16);
    return DCMI_OK;
}

int dcmi_get_device_pcie_info_v2(int card, int chip, struct dcmi_pcie_info_all *out)
{
    ENTER(card, chip);
    const char *address = get(section, "pci");
    if (!address)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    memset(out, 0, sizeof *out);
    out->venderid = 0x19e5;
    sscanf(address, "%x:%x:%x.%x", (unsigned *)&out->domain, &out->bdf_busid, &out->bdf_deviceid, &out->bdf_funcid);
    return DCMI_OK;
}

int dcmi_get_card_elabel_v2(int card, struct dcmi_elabel_info *out)
{
    ENTER(card, NOBODY);
    memset(out, 0, sizeof *out);
    return string(get(section, "serial"), out->serial_number, sizeof out->serial_number);
}

/* ---- Readings ---- */

int dcmi_get_device_utilization_rate(int card, int chip, int type, unsigned int *out)
{
    char key[32];
    snprintf(key, sizeof key, "utilization.%d", type);
    ENTER(card, chip);
    NUMBER(unsigned int, key, out);
    return DCMI_OK;
}

int dcmi_get_device_hbm_info(int card, int chip, struct dcmi_hbm_info *out)
{
    ENTER(card, chip);
    memset(out, 0xAA, sizeof *out);
    NUMBER(unsigned long long, "hbm_size", &out->memory_size);
    NUMBER(unsigned long long, "hbm_usage", &out->memory_usage);
    NUMBER(int, "hbm_temperature", &out->temp);
    NUMBER(unsigned int, "hbm_bandwidth", &out->bandwith_util_rate);
    return DCMI_OK;
}

int dcmi_get_device_memory_info_v3(int card, int chip, struct dcmi_get_memory_info_stru *out)
{
    ENTER(card, chip);
    memset(out, 0xAA, sizeof *out);
    NUMBER(unsigned long long, "memory_size", &out->memory_size);
    NUMBER(unsigned long long, "memory_available", &out->memory_available);
    return DCMI_OK;
}

int dcmi_get_device_resource_info(int card, int chip, struct dcmi_proc_mem_info *out, int *number)
{
    ENTER(card, chip);
    const char *list = get(section, "processes");
    if (!list)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    *number = 0;
    for (char *end; *list; list = end) {
        struct dcmi_proc_mem_info process = {.proc_id = strtol(list, &end, 10)};
        process.proc_mem_usage = strtoul(end + 1, &end, 10);
        out[(*number)++] = process;
        end += *end == ' ';
    }
    return DCMI_OK;
}

int dcmi_get_device_errorcode_v2(int card, int chip, int *number, unsigned int *codes, unsigned int length)
{
    ENTER(card, chip);
    const char *list = get(section, "error_codes");
    if (!list)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    *number = 0;
    for (char *end; *list && *number < (int)length; list = end) {
        codes[(*number)++] = strtoul(list, &end, 16);
        end += *end == ' ';
    }
    return DCMI_OK;
}
