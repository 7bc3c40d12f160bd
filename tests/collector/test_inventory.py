"""The file of declared devices."""

from pathlib import Path

import pytest

from fallow_collector.inventory import load_inventory
from fallow_proto.api import Declared
from fallow_proto.settings import SettingsError

BOTH = [
    Declared(uuid="GPU-1", site="default", node="node-1", vendor="nvidia", model="NVIDIA A100", device_class=""),
    Declared(uuid="CPU-1", device_class="super"),
]


@pytest.mark.parametrize(("name", "text"), [
    ("devices.toml", """
[[devices]]
uuid = "GPU-1"
site = "default"
node = "node-1"
vendor = "nvidia"
model = "NVIDIA A100"

[[devices]]
uuid = "CPU-1"
class = "super"
"""),
    ("devices.csv", "uuid,site,node,vendor,model,class\nGPU-1, default,node-1,nvidia,NVIDIA A100,\nCPU-1,,,,,super\n"),
])
def test_toml_and_csv_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert load_inventory(path) == BOTH


@pytest.mark.parametrize(("name", "text", "told"), [
    ("d.toml", "uuid = ", "is neither TOML"),
    ("d.toml", "devices = 1", "Expected `array`, got `int`"),
    ("d.toml", "[[devices]]\nnode = 'n'", "missing required field `uuid`"),
    ("d.toml", "[[devices]]\nuuid = 'u'\nnod = 'n'", "unknown field `nod`"),
    ("d.toml", "[[devices]]\nuuid = 'a b'", "device 1 has uuid 'a b', expected one without spaces"),
    ("d.csv", "uuid,node\nu\n", "as many cells a row as its heading"),
    ("d.csv", "uuid,node\nu,n,x\n", "as many cells a row as its heading"),
    ("d.csv", "uuid,nod\nu,n\n", "unknown field `nod`"),
    ("d.csv", "uuid,node\n,n\n", "device 1 has uuid ''"),
])
def test_a_mistake_is_told_with_the_file(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_inventory(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_inventory(tmp_path / "none.toml")
