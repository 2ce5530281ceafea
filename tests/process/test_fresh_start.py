"""The start that leaves secrets behind."""

from __future__ import annotations

from gatehouse.process import fresh_start
from gatehouse.settings.environment import Settings


def test_every_secret_setting_is_left_behind() -> None:
    secret = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert secret == {*fresh_start.SECRETS, *fresh_start.SECRETS_OF_SPACE}
