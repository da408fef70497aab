# SPDX-License-Identifier: Apache-2.0
"""The programs in tools/ as modules."""

import importlib.machinery
import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_tool(name):
    """A Python program of tools/; it is not run."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), f"{ROOT}/tools/{name}")
    sys.dont_write_bytecode = True
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module
