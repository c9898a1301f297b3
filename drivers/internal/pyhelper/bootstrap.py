# Runs as `python3 -c`: reads the sources named in its arguments (NAME:BYTES) from stdin, in order, and runs each as a module.
# The last argument is the backend's name, for the last of them. No file is written, so none is left behind. The current folder is no place to import from.
import sys
import types

sys.path[:] = [p for p in sys.path if p not in ("", ".")]
for arg in sys.argv[1:-1]:
    name, size = arg.split(":")
    source = sys.stdin.buffer.read(int(size))
    module = types.ModuleType(name)
    module.__file__ = name + ".py"
    sys.modules[name] = module
    exec(compile(source, module.__file__, "exec"), module.__dict__)
