-- Lua lint: `make lint`. The rules see one global of the host, `mill`; the configuration sees `env`.
std = "lua54"
max_line_length = 100
exclude_files = { "types" } -- declarations, which nobody calls

files["rules"] = { read_globals = { "mill" } }
files["src/lua"] = { read_globals = { "mill" } }
files["tidemill.lua"] = { read_globals = { "env" } }
