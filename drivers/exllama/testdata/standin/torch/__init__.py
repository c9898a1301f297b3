"""Stand-in for torch: see ../README.md."""

long = "int64"
__version__ = "0.0.0+standin"


class _Device:
    type = "cpu"


class Tensor:
    """Rows of ids."""

    device = _Device()

    def __init__(self, rows):
        self.rows = rows

    @property
    def shape(self):
        return (len(self.rows), len(self.rows[0]))

    def __getitem__(self, i):
        return Row(self.rows[i])

    def __iter__(self):
        return iter(Row(r) for r in self.rows)


class Row(list):
    device = _Device()

    def tolist(self):
        return list(self)


def tensor(rows, dtype=None):
    assert dtype == long and all(isinstance(i, int) for r in rows for i in r)
    return Tensor(rows)


class version:
    cuda = "12.8"
    hip = None


class cuda:
    available = True

    @staticmethod
    def is_available():
        import os

        return not os.environ.get("STANDIN_NO_CUDA")

    @staticmethod
    def device_count():
        return 1

    @staticmethod
    def get_device_name(_):
        return "Stand-in GPU"
