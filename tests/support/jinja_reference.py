#!/usr/bin/env python3
"""Templates and what jinja2 itself renders them to, one JSON object a line: the oracle of
src/chat/jinja_reference_test.cc.

Usage: jinja_reference.py SEED COUNT. Every filter, test, method and operator meets every sample
value, and COUNT random expressions are added. Exits with 77 if jinja2 3.1 is not there. The
environment is the one in which transformers compiles chat templates.
"""
import copy
import itertools
import json
import random
import re
import sys
import warnings

try:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    sys.exit(77)
if not jinja2.__version__.startswith("3.1."):
    sys.exit(77)
IS_OLD = tuple(int(part) for part in jinja2.__version__.split(".")) < (3, 1, 6)

VARIABLES = {
    "n": 3, "m": -7, "x": 2.5, "big": 1234, "t": True, "f": False, "none_": None,
    "s": "Hello World", "u": " \u3000\u00c4rger \u5929\u6c14\u597d\u00df \u01c6\u00a0", "e": "", "w": "a-b c_d (e) [f]\nnext line\r\nlast",
    "num": "42", "dec": " 3.75 ", "html": "<b>\"a\" & 'b'</b>", "l": [3, 1, 2], "le": [], "ls": ["b", "A", "c", "a"],
    "lm": [{"a": 1, "b": "x"}, {"a": 2, "b": "Y"}, {"a": 1, "b": "z", "c": None}],
    "d": {"k": 1, "B": [1, 2], "a": {"z": None}}, "de": {}, "nest": [[1, [2, "q'"]], {"y": True}],
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
}
VALUES = ["n", "m", "x", "big", "t", "f", "none_", "s", "u", "e", "w", "num", "dec", "html", "l", "le", "ls", "lm",
          "d", "de", "nest", "missing", "(1, 'a')", "0", "'%s'", "range(4)", "(s | safe)", "d.items()", "lm | map(attribute='a')", "-1.5e-7", "1e16", "0.1 + 0.2"]
FILTERS = """abs|attr('upper')|attr('k')|batch(2)|list|batch(2, 'x')|list|capitalize|center(20)|count|d('D')|default('D', true)
default(default_value=1, boolean=true)|dictsort|dictsort(reverse=true)|dictsort(by='value')|dictsort(true)|e|escape|forceescape
filesizeformat|filesizeformat(true)|first|float|float(7)|format(1, 'b')|groupby('a')|pprint|groupby('c', default='q')|indent|indent(2, true)
indent('>', blank=true)|indent(width=1, first=true)|int|int(9)|int(default=8)|int(base=16)|items|list|join|join(', ')|join(d='-', attribute='a')|last
length|list|lower|map('upper')|list|map(attribute='a')|list|map(attribute='c', default='q')|list|map('default', 'w')|list|max|max(attribute='b')
min|min(case_sensitive=true)|reject|list|reject('odd')|list|rejectattr('a')|list|rejectattr('a', 'eq', 1)|list|replace('l', 'L')|replace('l', '<', 1)
replace('', '-')|reverse|list|round|round(1)|round(-1)|round(1, 'ceil')|round(method='floor')|safe|select|list|select('string')|list
selectattr('b', 'in', ['x', 'Y'])|list|selectattr('c', 'defined')|list|slice(2)|list|slice(3, 'x')|list|sort|sort(reverse=true)
sort(attribute='b')|sort(attribute='a,b', reverse=true)|sort(case_sensitive=true)|string|striptags|sum|sum(attribute='a')|sum(start=10)|title|tojson
tojson(indent=2)|tojson(true)|tojson(sort_keys=true)|tojson(separators=(',', ':'))|tojson(indent='\t', ensure_ascii=true)|trim|trim('H ')|truncate(8)|truncate(8, true)
truncate(8, false, '!', 0)|unique|list|unique(case_sensitive=true)|list|unique(attribute='a')|list|upper|urlencode|wordcount|xmlattr|wordwrap(5)|wordwrap(7, false)
first|upper|last|first|string|length|list|tojson|list|string""".replace("\n", "|")
TESTS = """odd even divisibleby(3) divisibleby(num=2) defined undefined none boolean false true integer float lower upper string
mapping number sequence iterable callable sameas(none) sameas(true) escaped in([3,'a',none]) eq(3) ==(2.5) equalto('Hello_World') ne(3) !=(3) >(2) gt(2)
greaterthan(2) ge(3) >=(3) <(3) lt(3) lessthan(3) <=(3) le(3) filter test""".split()
TESTS = [t for t in TESTS if t[0].isalpha()]
TEXT_METHODS = """capitalize() casefold() center(20) center(21,'*') count('l') count('l',3,-1) count('') endswith('d') endswith(('x','d')) expandtabs()
find('o') find('o',5) find('zz') index('e') isalnum() isalpha() isascii() isdecimal() isdigit() isidentifier() islower() isnumeric() isprintable()
isspace() istitle() isupper() join(['a','b']) join(ls) ljust(14)+'|' ljust(14,'.') lower() lstrip() lstrip('H') partition('o') partition('_') removeprefix('He')
removesuffix('ld') replace('l','L') replace('l','L',1) replace('','-') replace('','-',2) rfind('o') rindex('o') rjust(14) rjust(14,'0') rpartition('o') rpartition('Q')
rsplit() rsplit(maxsplit=1) rsplit(none,1) rsplit('o',1) rstrip() rstrip('dl') split() split('o') split('l',1) split(none,1) split(sep='l',maxsplit=2) split(maxsplit=0)
splitlines() splitlines(true) startswith('He') startswith('l',2) startswith(('a','H')) strip() strip('Hd') strip('') swapcase() title() upper() zfill(15) zfill(2) format(1)
encode __class__ __len__() nothing nothing() append(1)""".split()
OTHER_METHODS = """items() keys() values() get('k') get('zz') get('zz',5) copy() index(1) index(1,1) count(1) pop() pop('k') update({}) append(1) clear()
k a.z.q B[1] B[-1] B[9] B['x'] a['z'] items keys 0 1 5""".split()
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"]
SLICES = ["1:", ":2", "1:3", "::2", "::-1", "-2:", ":-1", "5:1:-2", "none:none", "3", "-1", "99", "-99", "true", "'0'", "1,2", "::0", "x:"]
FORMATS = """'%d %s'%(n,s) '%5.1f|%-5d|%05d|%+d|% d'%(x,n,m,n,n) '%x %X %o %#x'%(255,255,8,255) '%r %s'%(s,none) '%(k)s'%d '%s'%d '%s'%l '%%'%() '%e %g %G'%(x,x,1e20)
'%c%c'%(65,'b') '%.2s|%10s|%-10s|'%(s,s,s) '%s' '%s %s'%(1,) '%d'%'a' '%i'%3.9 '%5%|'%() '%*d'%(5,3) '{}'.format(x) '{:>5}|{:<5}|{:^5}|{:*^7}'.format(1,'a',2,'b') '{0}{1}{0}'.format(1,2)
'{a}{b[0]}{c.k}'.format(a=1,b=l,c=d) '{:05d} {:+} {:,} {:_} {:x} {:#x} {:b} {:o}'.format(3,3,1234567,1234567,255,255,5,8) '{:.2f} {:e} {:g} {:%} {:.3}'.format(x,x,x,x,1234.5) '{!r} {!s}'.format(s,s)
'{:{}}|'.format(s,20) '{{}}'.format(1) '{'.format(1) '{} {0}'.format(1) '{:d}'.format('a') '{:s}'.format(1) '{}'.format(l,d) '{:>{w}.{p}f}'.format(x,w=8,p=1) '{:,.2f}'.format(1234567.891) '{:08.3f}'.format(-3.14159)
'{:.0f} {:.0f} {:.0f}'.format(0.5,1.5,2.5) '{x}'.format(y=1) '{:n}'.format(5) '{:c}'.format(65) '{}'.format() '%s'%missing 'a'%missing '{}'.format(missing)""".split("\n")
FORMATS = [one for line in FORMATS for one in line.replace("', '", "',\x00'").split(" '")]
FORMATS = [(f if f.startswith("'") else "'" + f) for f in FORMATS]
LITERALS = r"""'\n\t\x41\u00e9\101\q\'\"\\' "a\
b" 1_000 0x1F 0b101 0o17 1e3 1.5E-3 1_0.0_1 00 'a''b' "it's" 'say "x"' 'both\'"' ('a',) () [] {} [1,2,] {'a':1,} {1:2,1.0:3,true:4} 1.0 1e22 1e15 123456789012345.6 -0.0 1e-5 0.0001 5e-324
1.7976931348623157e308 1e400 -1e400 (1e400-1e400) 9223372036854775807 -9223372036854775808 2**62 'é'|length '😀'[0] '\U0001F600' none None True [none,true,1.0,'a'] """.split(" ")
STATEMENTS = r"""
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.cycle('a', 'b') }}{{ loop.changed(i // 2) }};{% endfor %}
{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}{% endfor %}
{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }}{{ loop.last }}{% else %}none{% endfor %}
{% for i in le %}a{% else %}none{% endfor %}
{% for i in missing %}a{% else %}none{% endfor %}
{% for i in none_ %}a{% endfor %}
{% for i in n %}a{% endfor %}
{% for c in 'añ天' %}{{ c }}.{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }};{% endfor %}
{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}
{% for a, b in l %}{{ a }}{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, in [(1,)] %}{{ a }}{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in l %}{% break %}{% else %}else{% endfor %}
{% for i in nest recursive %}{% if i is iterable and i is not string %}[{{ loop(i) }}]{% else %}{{ i }}@{{ loop.depth }}{% endif %}{% endfor %}
{% for i in l %}{{ loop }}{% endfor %}
{% for i in l | map('string') %}{{ i }}{{ loop.last }}{{ loop.length }}{% endfor %}
{% for i in range(5) %}{{ loop.length }}{{ loop.revindex }}{% endfor %}
{% set y = 1 %}{% for i in l %}{% set y = y + 1 %}{{ y }}{% endfor %}{{ y }}
{% for i in l %}{{ n }}{% set n = 9 %}{{ n }}{% endfor %}{{ n }}
{% for i in [1] %}{{ n }}{% endfor %}{% set n = 5 %}{{ n }}
{% if t %}{% set n = 5 %}{% endif %}{{ n }}
{% if f %}{% set n = 5 %}{% endif %}{{ n }}
{% if f %}{% set q = 5 %}{% endif %}{{ q is defined }}
{% set ns = namespace(a=1, b=[]) %}{% for i in l %}{% set ns.a = ns.a + i %}{% set ns.b = ns.b + [i] %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns['a'] }}{{ ns }}
{% set ns = namespace({'a': 1}) %}{{ ns.a }}{% set ns.z = 2 %}{{ ns.z }}
{% set d.k = 2 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = l %}
{% set a = 1, 2 %}{{ a }}
{% set (a, b) = (1, 2) %}{{ a }}{{ b }}
{% set z %}<{{ n }}>{% endset %}{{ z }}{{ z | length }}
{% set z | upper | trim %} a{{ s }} {% endset %}{{ z }}|
{% set ns = namespace() %}{% set ns.x %}b{% endset %}{{ ns.x }}
{% set z %}{% set inner = 3 %}{% endset %}{{ inner is defined }}
{% filter upper %}a{{ s }}{% endfilter %}
{% filter replace('a', 'b') | trim %} aaa {% endfilter %}|
{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a is defined }}{{ c is defined }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}
{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=3) }} {{ f(b=1, a=0) }} {{ f() }}
{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}
{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'a': 2}) }}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.caller }}
{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f() %}{{ y }}{% endmacro %}{% set y = 1 %}{{ f() }}{% set y = 2 %}{{ f() }}
{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% set n = 8 %}{{ f() }}
{% macro f() %}{% set n = 1 %}{{ n }}{% endmacro %}{{ f() }}{{ n }}
{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}body{{ n }}{% endcall %}
{% macro f() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b=5) f() %}{{ a }}{{ b }}{% endcall %}
{% macro f(x) %}{{ x }}{{ caller is defined }}{% endmacro %}{{ f(1) }}
{% macro f(x) %}{{ x }}{% endmacro %}{% call f(1) %}{% endcall %}
{% macro f() %}x{% endmacro %}{{ f() is string }}{{ f is callable }}{{ f() | length }}{{ [f()] }}
{% for i in [1, 2] %}{% macro g() %}{{ i }}{% endmacro %}{{ g() }}{% endfor %}
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{% if n == 3 %}a{% elif n %}b{% else %}c{% endif %}
{% if missing %}a{% elif le %}b{% else %}c{% endif %}
{% print n, s %}
{% block a %}<{{ n }}>{% endblock %}
{% block a %}{% set q = 1 %}{% endblock a %}{{ q }}
{% autoescape false %}{{ html }}{% endautoescape %}
{% raw %}{{ n }}{% if %}{% endraw %}|
  {% raw %}  a  {% endraw %}  b
{%- raw -%} a {%- endraw -%} b
a {# c #} b {#- d -#} e
a
   {# c #}
b
  {% if t %}
x
  {% endif %}
y
{%+ if t %} a {%+ endif +%} b
a  {%- if t -%}  b  {%- endif -%}  c
{{- n -}}  a
  {{- n }}
{% for i in l -%}
  {{ i }}
{%- endfor %}
{{ "{{ x }}" }}{{ '%}' }}{{ "}}" }}
{% generation %}{{ n }}{% endgeneration %}
{% include 'x' %}
{% nonsense %}
{{ n
{{ n }}}}
{{ {'a': {'b': 1}}.a.b }}
{{ {'a': 1}['a'] }}{{ [1, 2][0] }}{{ (1, 2)[1] }}{{ 'abc'[1] }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}
{% set j = joiner(',') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}
{{ dict(a=1, b=2) }}{{ dict([('a', 1)]) }}{{ dict({'a': 1}, b=2) }}
{{ range(3) | list }}{{ range(1, 4) | list }}{{ range(5, 0, -2) | list }}{{ range(3)[1] }}{{ range(10)[2:8:2] | list }}{{ range(0) | length }}
{{ range(100001) }}
{{ raise_exception('a b') }}
{{ strftime_now('%Y-%m-%d %d %B %b %A %a %j %H:%M:%S %y %p %I %%') }}
{{ 'a' if t }}{{ 'b' if f }}{{ 'c' if f else 'd' if f else 'e' }}{{ ('x' if f) is defined }}
{{ 'a' if f and 'b' }}
{{ not n == 3 }}{{ not not n }}{{ not f or t }}
{{ 1 < 2 < 3 }}{{ 1 < 2 > 5 }}{{ 1 == 1 == 1 }}{{ 1 in [1] in [[1]] }}
{{ -n | abs }}{{ -n.bit_length() }}{{ +n }}{{ - - n }}{{ -2 ** 2 }}{{ 2 ** -1 }}{{ 2 ** 3 ** 2 }}
{{ n is divisibleby 3 }}{{ n is not divisibleby 2 and t }}{{ n is eq 3 }}{{ n is in [1, 3] }}{{ s is string or f }}{{ n is sameas n }}
{{ missing.foo }}
{{ missing['foo'] }}
{{ n.foo }}{{ n.foo is defined }}{{ none_.foo is undefined }}
{{ n.foo.bar }}
{{ missing() }}
{{ missing + 1 }}
{{ missing == missing2 }}{{ missing == none }}{{ missing != 1 }}{{ [missing] }}
{{ d.k }}{{ d['k'] }}{{ d.items is defined }}{{ d.missing }}{{ d.get }}
{{ d._k }}{{ d.__class__ }}{{ d.__class__ is defined }}
{{ d.__class__.x }}
{{ l.append }}{{ l.append is defined }}
{{ [1, 2] | map('nonsense') | list }}
{% if f %}{{ n | nonsense }}{% endif %}ok
{% if f %}{{ n is nonsense }}{% endif %}ok
{{ n | nonsense if f }}ok
{{ n is nonsense }}
{{ lm | groupby('a') }}{% for g, items in lm | groupby('a') %}{{ g }}{{ items | length }}{% endfor %}{% for g in lm | groupby('b') %}{{ g.grouper }}{{ g.list }}{% endfor %}
{{ ls | sort }}{{ ls | unique | list }}{{ ls | min }}{{ ls | max }}{{ lm | map(attribute='b') | sort | join }}
{{ (s | safe) + '<' }}{{ '<' + (s | safe) }}{{ ('<' | safe) ~ '<' }}{{ ['<', '<' | safe] | join('<') }}{{ [('<' | e)] }}{{ ('a<' | safe).replace('a', '<') }}{{ ('%s' | safe) % '<' }}{{ ('{}' | safe).format('<') }}{{ ('<' | safe).join(['<', 'b']) }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}{{ (messages | rejectattr('role', 'in', ['user']) | list)[0].content }}
{{ messages[0]['role'] }}{{ messages[-1].content }}{{ messages[5] }}{{ messages[1:][0].role }}{{ messages.0.role }}
{{ d | items | list }}{{ d | length }}{{ d.keys() | list }}{{ d.values() | first }}{{ d.items() | last }}{{ d.keys() | length }}{{ d.keys()[0] }}
{{ loop }}{{ caller is defined }}
{{ 'a' 'b' ~ 'c' }}{{ 1 ~ none ~ true ~ 1.0 ~ [1] ~ missing }}
{{ [1] + [2] }}{{ (1,) + (2,) }}{{ [0] * 3 }}{{ 'ab' * 2 }}{{ 2 * 'ab' }}{{ 'a' * -1 }}{{ true + true }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7.5 % -2 }}{{ 7 // -2 }}{{ 1 / 3 }}
{{ [3, 'a'] | sort }}
{{ [1, 1.0, true] | unique | list }}{{ {1: 'a'}[true] }}{{ {'a': 1} == {'a': 1.0} }}{{ [1, [2]] == [1, (2,)] }}{{ (1, 2) < (1, 3) }}
{{ [1, 2] | sum }}{{ ['a'] | sum }}
{{ 'x' is filter }}{{ 'upper' is filter }}{{ 'odd' is test }}
{{ s.upper().lower().title() }}{{ s.split()[-1] }}{{ s.split(' ')[0][::-1] }}
{{ '' or 'a' }}{{ 0 or none or [] }}{{ 1 and 2 }}{{ [] and 1 }}
{%- set x -%}  a  {%- endset -%}  {{ x }}
{% for i in l: %}{{ i }}{% endfor %}
{{ [1, 2, 3] | random is number }}
{{ lipsum() is string }}
{% set x = 'a' if t else 'b' %}{{ x }}
{% set x = namespace %}{{ x(a=1).a }}
{% set loop = 1 %}{{ loop }}
{% for loop in l %}{{ loop }}{% endfor %}
{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in l %}{% set outer = loop %}{% for y in ls %}{{ outer.index }}{% endfor %}{% endfor %}
{{ x.is_integer() }}{{ 5 .bit_length() }}
{{ [[1, 2], [3]] | map('first') | list }}{{ [[1, 2], [3]] | map('join', '-') | list }}{{ ['a', 'b'] | map('replace', 'a', 'c') | list }}
{{ [0, 1, '', 'a', none] | select | list }}{{ [0, 1, '', 'a', none] | reject | list }}{{ [1, 2, 3, 4] | select('divisibleby', 2) | list }}
{{ {'b': 1, 'a': 2} | tojson }}{{ {'b': 1, 'a': [1, {'c': none}]} | tojson(indent=4) }}{{ [] | tojson(indent=2) }}{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}
{{ missing | tojson }}
{{ [1e400] | tojson }}{{ '\u2028</script>\x7f\x01' | tojson }}{{ '\u00e9\U0001F600' | tojson(ensure_ascii=true) }}
{{ range(3) | tojson }}
{{ (1, 2) | tojson }}{{ d.items() | list | tojson }}
""".strip("\n").split("\n")


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    def _text(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(form):
    import datetime
    return datetime.datetime(2024, 7, 26).strftime(form)


def expression(rng, depth):
    """A random expression."""
    kind = rng.randrange(9) if depth > 0 else 0
    inner = lambda: expression(rng, depth - 1)  # noqa: E731
    if kind <= 1:
        return rng.choice(VALUES + ["1", "'a'", "2.0", "-3", "[1, 'b']", "{'a': 1}"])
    if kind <= 3:
        return "(%s %s %s)" % (inner(), rng.choice([one for one in BINARY if one != "**"]), inner())
    if kind == 4:
        return "(%s if %s else %s)" % (inner(), inner(), inner())
    if kind == 5:
        return "(%s | %s)" % (inner(), rng.choice([f for f in FILTERS.split("|") if "(" not in f or ")" in f]))
    if kind == 6:
        return "(%s is %s)" % (inner(), rng.choice(TESTS))
    if kind == 7:
        return "(%s)[%s]" % (inner(), rng.choice(SLICES))
    return "(%s).%s" % (inner(), rng.choice(TEXT_METHODS + OTHER_METHODS))


def templates(seed, count):
    for value in VALUES:
        for name in split_filters(FILTERS):
            yield "{{ %s | %s }}" % (value, name)
        for test in TESTS:
            yield "{{ (%s) is %s }}{{ (%s) is not %s }}" % (value, test, value, test)
        for method in TEXT_METHODS + OTHER_METHODS:
            yield "{{ (%s).%s }}" % (value, method)
        # Slices of constants are taken while jinja2 compiles, by other rules.
        for part in SLICES if value not in ("0", "-1.5e-7", "1e16") else ():
            yield "{{ (%s)[%s] }}" % (value, part)
        yield "{{ %s }}|{{ [%s] }}|{{ (%s) | string }}|{{ 1 if %s else 2 }}|{{ not (%s) }}" % ((value,) * 5)
        yield "{{ -(%s) }}" % value
        yield "{{ +(%s) }}" % value
        yield "{%% for i in %s %%}{{ i }},{%% endfor %%}" % value
        yield "{%% set a, b = %s %%}{{ a }}{{ b }}" % value
        yield "{{ {%s: 1} }}" % value
    for left, sign, right in itertools.product(VALUES[::2] + ["missing", "l"], BINARY, VALUES[1::2] + ["s", "n"]):
        # Powers of large numbers take minutes; those of negative constants are -(a ** b) to jinja2.
        if sign == "**" and ("big" in (left, right) or left.startswith("-")):
            continue
        yield "{{ (%s) %s (%s) }}" % (left, sign, right)
    for one in FORMATS + LITERALS:
        yield "{{ %s }}" % one
    yield from STATEMENTS
    yield "\n".join(STATEMENTS[60:62])
    for end in ("\n", "\r\n", "\r", "\n\n", " \n", ""):
        yield "a%s{%% if t %%}%sb%s  {%% endif %%}%s{{ 'x%sy' }}%s" % ((end,) * 6)
    rng = random.Random(seed)
    for _ in range(count):
        yield "{{ %s }}" % expression(rng, 3)
    pieces = ["{% if t %}", "{% endif %}", "{{ n }}", " ", "\n", "  ", "\t", "a", "{# c #}", "{%- if t %}", "{%- endif -%}", "{{- n -}}",
              "{%+ if t %}", "{% endif +%}", "{#- c -#}", "\u3000", "\r\n", "{% raw %}", "{% endraw %}", "{%- raw -%}", "{%- endraw %}", "{# c +#}", "{", "%}", "}}"]
    for _ in range(count):
        yield "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 12)))


def split_filters(text):
    """The filters between the bars; what gives a generator is made a list."""
    names = []
    for one in text.split("|"):
        if one in ("list", "upper", "first", "length", "string", "tojson") and names and names[-1].split("(")[0] in (
                "batch", "map", "reject", "rejectattr", "select", "selectattr", "slice", "unique", "items", "reverse"):
            names[-1] += " | " + one
        else:
            names.append(one)
    return names


def main():
    warnings.simplefilter("ignore")
    env = environment()
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    print(json.dumps({"variables": VARIABLES}))
    seen = set()
    for template in templates(seed, count):
        if template in seen:
            continue
        seen.add(template)
        row = {"template": template}
        try:
            row["text"] = env.from_string(template).render(**copy.deepcopy(VARIABLES))
            row["text"].encode("utf-8")
        except RecursionError:
            continue
        except Exception as error:  # noqa: BLE001
            row.pop("text", None)
            row["error"] = "%s: %s" % (type(error).__name__, error)
        # Integers of more than 64 bits are refused here, and long texts tell nothing more.
        if "text" in row and (len(row["text"]) > 5000 or re.search(r"\d{19}", row["text"])):
            continue
        if "text" in row and " at 0x" in row["text"]:  # an address
            row.pop("text")
            row["error"] = "the text has an address"
        # Before 3.1.6 its sandbox let lists be changed by these two.
        if "text" in row and IS_OLD and re.search(r"\.(pop|clear)\(", template):
            continue
        print(json.dumps(row))


main()
