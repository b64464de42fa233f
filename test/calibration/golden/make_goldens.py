#!/usr/bin/env python3
"""Small parquet files for test/calibration/texts.test.ts, which knows what is in them.

needs: pip install pyarrow==26.0.1
"""
import pathlib

import pyarrow
import pyarrow.parquet

HERE = pathlib.Path(__file__).parent
texts = [f"Document {i}: " + "na " * (i % 7) + "größer 🎉" for i in range(50)]
texts[3] = ""
texts[4] = None
table = pyarrow.table({"id": list(range(50)), "text": texts, "story": ["once"] * 50})
for compression in ("snappy", "gzip", "brotli", "zstd"):
    pyarrow.parquet.write_table(table, HERE / f"texts.{compression}.parquet", compression=compression, row_group_size=20)
