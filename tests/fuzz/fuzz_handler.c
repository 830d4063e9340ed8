/*
 * Rules that are always Lua: the bytes choose among statements and expressions, mostly of the type
 * that is wanted, so that what is tried is the API and the engine, and not the compiler.
 * rule_host.h says what must hold.
 */
#include "rule_host.h"

enum { TEXT_MAX = 16 << 10, DEPTH_MAX = 6 };

/* The program under construction; what does not fit is left out. */
struct program {
    struct choices choices;
    char text[TEXT_MAX];
    size_t size;
    int depth;
};

/*
 * In these %e is any expression, %n a number, %s a string, %t a table, %f a function, %v a local
 * variable, %b a block.
 */
static const char *const numbers[] = {"0",
                                      "1",
                                      "2",
                                      "-1",
                                      "3",
                                      "0.5",
                                      "60",
                                      "1e308",
                                      "0/0",
                                      "1/0",
                                      "2^53",
                                      "255",
                                      "math.maxinteger",
                                      "math.mininteger",
                                      "9007199254740993",
                                      "msg.sequence",
                                      "msg.delivered",
                                      "mill.now()",
                                      "#%s",
                                      "#%t",
                                      "%n + %n",
                                      "%n * %n",
                                      "%n // %n",
                                      "%n << %n",
                                      "math.random(5)",
                                      "os.time()",
                                      "1000"};
static const char *const strings[] = {"''",
                                      "'a'",
                                      "'alerts.x'",
                                      "'a.*'",
                                      "'$JS.x'",
                                      "'a b'",
                                      "'1e400'",
                                      "'{\"a\":[null,{}]}'",
                                      "'\\xff\\0'",
                                      "'%d'",
                                      "'%5.1f %q'",
                                      "'(.-)%1'",
                                      "'%f[%w]'",
                                      "'<i8'",
                                      "'k'",
                                      "'v'",
                                      "msg.raw",
                                      "msg.subject",
                                      "%s .. %s",
                                      "tostring(%e)",
                                      "type(%e)",
                                      "('x'):rep(%n)",
                                      "string.rep(%s, %n, %s)",
                                      "string.format(%s, %e, %e)",
                                      "string.gsub(%s, %s, %e)",
                                      "string.sub(%s, %n, %n)",
                                      "string.char(%n, %n)",
                                      "string.pack(%s, %e)",
                                      "string.reverse(%s)",
                                      "table.concat(%t, %s)",
                                      "utf8.char(%n)",
                                      "mill.json.encode(%e)",
                                      "cjson.encode(%e)",
                                      "os.date(%s)",
                                      "string.upper(%s)"};
static const char *const tables[] = {
    "{}",
    "{1,2,nil,4}",
    "{a={b={}}}",
    "msg.data",
    "msg.data.list",
    "msg.headers",
    "msg.data.map",
    "msg.data.map",
    "msg.data.rows",
    "msg.data.rows[%n]",
    "msg.data.list[5].x",
    "mill",
    "msg",
    "kv",
    "string",
    "_G",
    "mill.json.array()",
    "mill.json.array_mt",
    "mill.state('s')",
    "mill.state(%s)",
    "{ %e, %e }",
    "{ a = %e, [%e] = %e }",
    "mill.json.array(%t)",
    "table.pack(%e, %e)",
    "window",
    "setmetatable(%t, { __index = %e, __eq = %f, __tostring = %f, __len = %f, __concat = %f })",
    "setmetatable({}, { __lt = %f, __call = %f, __newindex = %e, __pairs = %f, __name = %e })"};
static const char *const functions[] = {"function(x, ...) %b return %e end",
                                        "function(x) return x end",
                                        "print",
                                        "error",
                                        "pcall",
                                        "mill.sleep",
                                        "mill.publish",
                                        "kv.get",
                                        "coroutine.wrap(%f)",
                                        "string.len",
                                        "tostring",
                                        "next"};
static const char *const others[] = {"nil",
                                     "true",
                                     "false",
                                     "mill.json.null",
                                     "%n",
                                     "%s",
                                     "%t",
                                     "%f",
                                     "%v",
                                     "%v",
                                     "(%t)[%e]",
                                     "(%t).a",
                                     "%e == %e",
                                     "%n < %n",
                                     "%s < %s",
                                     "%e and %e or %e",
                                     "not %e",
                                     "tonumber(%e)",
                                     "tonumber(%s, %n)",
                                     "select(%n, %e, %e)",
                                     "next(%t)",
                                     "rawget(%t, %e)",
                                     "rawlen(%t)",
                                     "rawequal(%e, %e)",
                                     "getmetatable(%e)",
                                     "string.find(%s, %s, %n)",
                                     "string.match(%s, %s)",
                                     "string.byte(%s, %n, %n)",
                                     "string.unpack(%s, %s)",
                                     "table.unpack(%t, %n, %n)",
                                     "table.move(%t, %n, %n, %n)",
                                     "table.remove(%t)",
                                     "utf8.len(%s)",
                                     "math.tointeger(%n)",
                                     "pcall(%f, %e)",
                                     "xpcall(%f, %f)",
                                     "coroutine.create(%f)",
                                     "coroutine.resume(coroutine.create(%f), %e)",
                                     "coroutine.yield(%e)",
                                     "coroutine.close(coroutine.create(%f))",
                                     "coroutine.running()",
                                     "coroutine.isyieldable()",
                                     "mill.json.decode(%s)",
                                     "cjson.decode(%s)",
                                     "mill.request(%s, %e, %n)",
                                     "kv:get(%s)",
                                     "kv:get_json(%s)",
                                     "require 'm'",
                                     "kv:put(%s, %e)",
                                     "kv:create(%s, %e)",
                                     "kv:update(%s, %e, %n)",
                                     "kv:delete(%s)",
                                     "kv:keys()",
                                     "throttle:allow(%s, %n)",
                                     "dedupe:first(%s, %n)",
                                     "changed:update(%s, %n)",
                                     "window:add(%s, %n, %n)",
                                     "window:get(%s)",
                                     "mill.window { tumbling = %n, on_close = %f }",
                                     "mill.window { sliding = %n, percentiles = %t, samples = %n }",
                                     "mill.kv(%s)",
                                     "mill.window { session = %n, lateness = %n }",
                                     "mill.throttle { per = %n, count = %n }",
                                     "mill.dedupe { within = %n, keys = %n }",
                                     "mill.changed { above = %n, below = %n }",
                                     "mill.after(%n, %f)",
                                     "mill.every(%n, %f)"};
static const char *const statements[] = {
    "%v = %e",
    "local %v = %e",
    "if %e then %b else %b end",
    "for i = 1, 3 do %b end",
    "for k, x in pairs(%t) do %b end",
    "for i, x in ipairs(%t) do %b end",
    "for x, y in string.gmatch(%s, %s) do %b end",
    "while %e do %b break end",
    "do local n = 0 repeat n = n + 1 %b until n > 2 or %e end",
    "do return %e end",
    "pcall(function() %b end)",
    "xpcall(function() %b end, function(x) %b end)",
    "error(%e, %n)",
    "do local z <close> = setmetatable({}, { __close = function(x, y) %b end }) %b end",
    "for x in coroutine.wrap(function() %b end) do %b end",
    "coroutine.wrap(function() %b end)()",
    "mill.publish(%s, %e)",
    "mill.publish('a.b', %e)",
    "mill.publish('a.b', %t)",
    "mill.publish('a', %e, { id = %s, headers = { A = %s, [%s] = %s }, ttl = %n })",
    "mill.publish('a', %e, { durable = %e })",
    "msg:retry(%n)",
    "msg:reject(%s)",
    "msg:in_progress()",
    "mill.sleep(%n)",
    "mill.sleep(1)",
    "mill.after(%n, function() %b end)",
    "mill.after(1, function() %b end)",
    "mill.every(1, function() %b end)",
    "mill.log.info(%e, %e)",
    "mill.log.error(%e)",
    "mill.counter('c', { l = %e }):add(%n)",
    "mill.counter('c', %t):inc()",
    "mill.gauge(%s, %t):set(%n)",
    "mill.histogram('h'):observe(%n)",
    "rawset(%t, %e, %e)",
    "table.sort(%t, %f)",
    "table.sort(%t)",
    "table.insert(%t, %e)",
    "table.insert(%t, %n, %e)",
    "mill.state('s')[%e] = %e",
    "mill.state(%s).x = %e",
    "(%t)[%e] = %e",
    "msg.data = %e",
    "msg.data.a = %e",
    "msg.data[%e] = %e",
    "%v = mill.after(%n, %f) %v:cancel()",
    "_G.z = %e",
    "assert(%e, %e)",
    "print(%e)",
    "%v = msg.data %v.list[%n] = %e",
    "%v = msg"};

#define CHOOSE(program, table)                                                                     \
    (table)[choose(&(program)->choices, sizeof(table) / sizeof((table)[0]))]

static void put(struct program *program, const char *text, size_t size)
{
    if (program->size + size >= TEXT_MAX)
        return; /* an error of the compiler, then */
    memcpy(program->text + program->size, text, size);
    program->size += size;
}

static void put_template(struct program *program, const char *text);

/* An expression of the wanted kind, one time in sixteen of any. */
static void put_expression(struct program *program, char kind)
{
    if (program->depth >= DEPTH_MAX) {
        put_template(program, kind == 't'   ? "{}"
                              : kind == 'f' ? "type"
                              : kind == 's' ? "'a'"
                                            : "1");
        return;
    }
    if (choose(&program->choices, 16) == 15)
        kind = 'e';
    if (kind == 'n')
        put_template(program, CHOOSE(program, numbers));
    else if (kind == 's')
        put_template(program, CHOOSE(program, strings));
    else if (kind == 't')
        put_template(program, CHOOSE(program, tables));
    else if (kind == 'f')
        put_template(program, CHOOSE(program, functions));
    else
        put_template(program, CHOOSE(program, others));
}

/* Some statements; an error in one ends the others at times only. */
static void put_block(struct program *program)
{
    unsigned count = program->depth >= DEPTH_MAX ? 0 : choose(&program->choices, 4);
    for (unsigned i = 0; i < count && !chosen_all(&program->choices); i++) {
        bool guarded = choose(&program->choices, 4) > 0;
        put_template(program, guarded ? "pcall(function() " : "");
        put_template(program, CHOOSE(program, statements));
        put_template(program, guarded ? " end);\n" : ";\n");
    }
}

static void put_template(struct program *program, const char *text)
{
    static const char names[] = "abcd";
    bool is_literal = *text == '\''; /* its % is Lua's */
    program->depth++;
    for (const char *hole; (hole = strchr(text, '%')) != NULL; text = hole + 2) {
        put(program, text, (size_t)(hole - text));
        if (is_literal)
            put(program, hole, 2);
        else if (hole[1] == 'b')
            put_block(program);
        else if (hole[1] == 'v')
            put(program, &names[choose(&program->choices, sizeof(names) - 1)], 1);
        else
            put_expression(program, hole[1]);
    }
    put(program, text, strlen(text));
    program->depth--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct program program;
    program.choices = (struct choices){.at = data, .end = data + size};
    program.size = 0;
    program.depth = 0;
    put_template(&program,
                 "local cjson, kv, a, b, c, d = require 'cjson', mill.kv('b'), {}, 'x', 1\n"
                 "local window = mill.window { tumbling = 1 }\n"
                 "local throttle = mill.throttle { per = 1 }\n"
                 "local dedupe = mill.dedupe { within = 1 }\n"
                 "local changed = mill.changed { above = 5 }\n"
                 "local msg = {}\n"
                 "local function work()\n%b%b%b\nend\n"
                 "local function tick()\n%b%b\nend\n"
                 "return { subjects = { '>', 'a.*', 'a.b.>' }, every = { 1, tick },\n"
                 "on_message = function(m) msg = m work() %b end,\n"
                 "on_load = function() %b end, on_unload = function() %b end }\n");
    run_rule(program.text, program.size, "return { f = type }", 19, size % 4 == 0);
    return 0;
}
