"""Changes of plain objects, of text and of bytes; each draws from the `random.Random` that it is given."""

import copy
import json
import re

POISON = ({"_target_": "os.system", "command": "touch sentinel"}, {"_target_": "builtins.eval", "_args_": ["1"]})
NUMBERS = (0, -1, 1, 2, 7, 255, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308, 5e-324)
NUMBERS += (float("inf"), float("-inf"), float("nan"), True, False)
PATHS = ("/dev/zero", "/dev/stdin", "../secret.png", "..", ".", "", "images", "/etc/passwd", "a\0b.png")
PATHS += ("a/../../b.png", "~/x.png", "file:///etc/passwd", "C:\\a\\b.png", "x" * 5000, "link.png", "pipe.png")
TEXTS = ("", " ", "nan", "1", "1e9999", "null", "yes", "\ufeffa", "cafe\u0301", "\u202eabc", "<script>", "a\nb")
TEXTS += ("\ud800",)
TEXTS += ("${oc.env:HOME}", "${data.train}", "${", "!!python/object/apply:os.system ['touch sentinel']", "_target_")
KEYS = ("id", "name", "bbox", "names", "_target_", "", "\0", "model", "0", "__class__", "file_name")


def strange(rng):
    """A value that hardly any field expects."""
    kind = rng.randrange(8)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice(PATHS)
    if kind == 3:
        return rng.choice(TEXTS)
    if kind == 4:
        return copy.deepcopy(rng.choice(POISON))
    if kind == 5:
        return deep(rng.choice((3, 30, 200)), rng.choice((list, dict)))
    return rng.choice((None, [], {}, [[]], [None], [{}], {"": None}, [1, 2, 3, 4], ["a"] * 3, {"a": 1}))


def deep(levels, kind):
    """Lists in lists, or mappings in mappings."""
    value = kind()
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def places(value, found=None):
    """All (container, key) pairs in a plain object."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        places(item, found)
    return found


def restructure(rng, document):
    """A copy of a plain object with one place changed."""
    document = copy.deepcopy(document)
    found = places(document)
    if not found or rng.random() < 0.01:
        return strange(rng)
    holder, key = rng.choice(found)
    value, change = holder[key], rng.randrange(9)
    if change < 3:
        holder[key] = strange(rng)
    elif change == 3:
        del holder[key]
    elif change == 4:
        holder[key] = _other_type(value)
    elif change == 5:
        other, there = rng.choice(found)
        holder[key] = copy.deepcopy(other[there])
    elif change == 6:
        holder[key] = [value] if rng.random() < 0.5 else {"a": value}
    elif change == 7 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(value))
    elif change == 8 and isinstance(holder, dict):
        holder[rng.choice(KEYS)] = strange(rng)
    elif isinstance(holder, dict):
        holder[str(rng.choice(KEYS))] = holder.pop(key)
    return document


def _other_type(value):
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return int(value) if value.isdigit() else [value]
    if isinstance(value, list):
        return {str(i): item for i, item in enumerate(value)}
    return list(value.items()) if isinstance(value, dict) else [value]


def changed(rng, document, most=3):
    """`document` with 1 to `most` places changed; the first change is often the only one."""
    for _ in range(rng.choice((1, 1, *range(1, most + 1)))):
        document = restructure(rng, document)
    return document


def as_json(rng, document):
    """JSON text as bytes, now and then with what only text can hold."""
    text = json.dumps(document)
    change = rng.randrange(12)
    if change == 0:  # a key twice
        keys = re.findall(r'"\w+": ', text)
        text = text.replace(rng.choice(keys), rng.choice(keys), 1) if keys else text
    elif change == 1:
        text = text.replace("[", "[" * rng.choice((50, 3000, 100_000)), 1)
    elif change == 2:
        numbers = list(re.finditer(r"\d+", text))
        if numbers:
            at, other = rng.choice(numbers), rng.choice(("1e9999", "-0", "9" * 400, "NaN", "1_0", "0x1F", "01"))
            text = text[: at.start()] + other + text[at.end() :]
    data = text.encode("utf-8", "surrogatepass")
    return mutilate(rng, data) if change in (3, 4) else data


def mutilate(rng, data):
    """Bytes flipped, cut, doubled, or in another encoding."""
    change = rng.randrange(8)
    at = rng.randrange(len(data) + 1)
    if change < 3 and data:
        changed_bytes = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 40))):
            place = rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data))
            changed_bytes[place] = rng.choice((rng.randrange(256), 0, 255, changed_bytes[place] ^ 1))
        return bytes(changed_bytes)
    if change == 3:
        return data[:at]
    if change == 4:
        return data[:at] + data[rng.randrange(len(data) + 1) :]
    if change == 5:
        return data[:at] + bytes(rng.randrange(256) for _ in range(rng.choice((1, 8, 100)))) + data[at:]
    if change == 6:
        return b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    return rng.choice((b"", b"\0" * 100, data.decode("latin-1").encode("utf-16"), data * 2))


def reword(rng, text):
    """Text with one of its words replaced, dropped or doubled, or a line moved; words are what spaces part."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    words = lines[at].split(" ")
    place, change = rng.randrange(len(words)), rng.randrange(6)
    if change < 3:
        value = strange(rng)
        words[place] = value if isinstance(value, str) else json.dumps(value)
    elif change == 3:
        del words[place]
    elif change == 4:
        words.insert(place, words[place])
    else:
        return "\n".join(lines[:at] + lines[at + 1 :] + [lines[rng.randrange(len(lines))]])
    lines[at] = " ".join(words)
    return "\n".join(lines)
