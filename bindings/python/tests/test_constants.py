# SPDX-License-Identifier: MIT
"""The constants and the structure are those of the header."""

import os
import pathlib
import re
import unittest

import pf_sp

HEADER = pathlib.Path(
    os.environ.get("SP_HEADER") or pathlib.Path(__file__).parents[3] / "include/uapi/linux/sp.h"
).read_text()


class Constants(unittest.TestCase):
    def test_all_have_the_values_of_the_header(self) -> None:
        defined = dict(re.findall(r"^#define\s+(\w+)\s+(\w+)$", HEADER, re.MULTILINE))
        del defined["AF_SP"]
        ours = {name: str(getattr(pf_sp, name)) for name in pf_sp.__all__ if name.isupper()}
        self.assertEqual(str(pf_sp.PF_SP), ours.pop("AF_SP"))
        self.assertEqual(defined, ours)

    def test_info_has_the_members_of_the_header(self) -> None:
        members = re.findall(r"^\t(__u32|__aligned_u64) sp_(\w+);", HEADER, re.MULTILINE)
        self.assertEqual([name for _, name in members], list(pf_sp.Info.__slots__))
        self.assertEqual([kind for kind, _ in members], 6 * ["__u32"] + 19 * ["__aligned_u64"])
        self.assertEqual(pf_sp.Info.LAYOUT.size, 6 * 4 + 19 * 8)


if __name__ == "__main__":
    unittest.main()
