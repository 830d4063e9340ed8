-- Lua lint: `make lint`. The rules see one global of the host, `mill`; the configuration sees `env`.
std = "lua54"
max_line_length = 100
exclude_files = { "types" } -- declarations, which nobody calls

files["rules"] = { read_globals = { "mill" } }
files["bench/batch/rules"] = { read_globals = { "mill" } }
files["src/lua"] = { read_globals = { "mill" } }
files["tidemill.lua"] = { read_globals = { "env" } }
files["deploy/partitions"] = { read_globals = { "env" } }

-- What a test file has besides: docs/rules.md, "Tests".
local test_globals = { "mill", "describe", "it", "before_each", "after_each", "expect" }
files["**/*_test.lua"] = { read_globals = test_globals }
files["tests/lua"] = { read_globals = test_globals }
