/* What of DCMI is simulated: structures, enumerations and return codes, in the order of Huawei's own
 * dcmi_interface_api.h (Apache-2.0; Ascend/mind-cluster, component/ascend-common/devmanager/dcmi). Only facts of the
 * ABI: the sizes are asserted, so that a slip of a member is a compile error. */
#pragma once

#define DCMI_OK 0
#define DCMI_ERR_CODE_INVALID_PARAMETER (-8001)
#define DCMI_ERR_CODE_DEVICE_NOT_EXIST (-8008)
#define DCMI_ERR_CODE_NOT_SUPPORT (-8255)

enum dcmi_unit_type { NPU_TYPE, MCU_TYPE, CPU_TYPE, INVALID_TYPE = 0xFF };
enum dcmi_die_type { NDIE, VDIE };

struct dcmi_chip_info_v2 {
    unsigned char chip_type[32];
    unsigned char chip_name[32];
    unsigned char chip_ver[32];
    unsigned int aicore_cnt;
    unsigned char npu_name[32];
};

struct dcmi_pcie_info_all {
    unsigned int venderid;
    unsigned int subvenderid;
    unsigned int deviceid;
    unsigned int subdeviceid;
    int domain;
    unsigned int bdf_busid;
    unsigned int bdf_deviceid;
    unsigned int bdf_funcid;
    unsigned char reserve[32];
};

struct dcmi_die_id { unsigned int soc_die[5]; };

struct dcmi_hbm_info {
    unsigned long long memory_size; /* MB, as memory_usage */
    unsigned int freq;
    unsigned long long memory_usage;
    int temp;
    unsigned int bandwith_util_rate;
};

struct dcmi_get_memory_info_stru {
    unsigned long long memory_size; /* MB, as memory_available */
    unsigned long long memory_available;
    unsigned int freq;
    unsigned long hugepagesize;
    unsigned long hugepages_total;
    unsigned long hugepages_free;
    unsigned int utiliza;
    unsigned char reserve[60];
};

struct dcmi_proc_mem_info {
    int proc_id;
    unsigned long proc_mem_usage; /* bytes */
};

struct dcmi_elabel_info {
    char product_name[256];
    char model[256];
    char manufacturer[256];
    char manufacturer_date[256];
    char serial_number[256];
};

_Static_assert(sizeof(struct dcmi_chip_info_v2) == 132, "dcmi_chip_info_v2");
_Static_assert(sizeof(struct dcmi_pcie_info_all) == 64, "dcmi_pcie_info_all");
_Static_assert(sizeof(struct dcmi_die_id) == 20, "dcmi_die_id");
_Static_assert(sizeof(struct dcmi_hbm_info) == 32, "dcmi_hbm_info");
_Static_assert(sizeof(struct dcmi_get_memory_info_stru) == 112, "dcmi_get_memory_info_stru");
_Static_assert(sizeof(struct dcmi_proc_mem_info) == 16, "dcmi_proc_mem_info");
_Static_assert(sizeof(struct dcmi_elabel_info) == 1280, "dcmi_elabel_info");
