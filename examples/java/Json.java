import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** JSON, which the JDK lacks: an object is a Map in its order, an array a List, a number a BigDecimal (1.10 stays 1.10), null is null. */
final class Json {
    /** Deeper than any resource; what is deeper is refused before it fills the stack. */
    private static final int DEEPEST = 100;
    private static final Pattern NUMBER = Pattern.compile("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");

    private final String text;
    private int position;

    private Json(String text) {
        this.text = text;
    }

    /** The value that these bytes are; IllegalArgumentException where they are no JSON in UTF-8. */
    static Object read(byte[] utf8) {
        try {
            // A decoder of one's own refuses wrong bytes; new String() would replace them.
            Json json = new Json(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString());
            Object value = json.value(0);
            json.skipSpace();
            if (json.position < json.text.length()) {
                throw json.fault("something behind the value");
            }
            return value;
        } catch (CharacterCodingException fault) {
            throw new IllegalArgumentException("not UTF-8", fault);
        }
    }

    static byte[] write(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value);
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    /** An object of names and values in turn. What is null is left out: FHIR knows no null there. */
    static Map<String, Object> object(Object... namesAndValues) {
        Map<String, Object> object = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            if (namesAndValues[i + 1] != null) {
                object.put((String) namesAndValues[i], namesAndValues[i + 1]);
            }
        }
        return object;
    }

    /** What stands at a path of names and indexes, and must: at(bundle, "entry", 0, "resource"). */
    static Object at(Object value, Object... path) {
        return find(value, path).orElseThrow(() -> new NoSuchElementException("nothing at " + List.of(path)));
    }

    private static Optional<Object> find(Object value, Object... path) {
        Object found = value;
        for (Object step : path) {
            if (step instanceof String name && found instanceof Map<?, ?> object) {
                found = object.get(name);
            } else if (step instanceof Integer index && found instanceof List<?> array && index < array.size()) {
                found = array.get(index);
            } else {
                return Optional.empty();
            }
        }
        return Optional.ofNullable(found);
    }

    static String text(Object value, Object... path) {
        return (String) at(value, path);
    }

    /** FHIR knows no empty array: where there is none, nothing is in it. */
    static List<?> list(Object value, Object... path) {
        return (List<?>) find(value, path).orElse(List.of());
    }

    private void skipSpace() {
        while (position < text.length() && " \t\r\n".indexOf(text.charAt(position)) >= 0) {
            position++;
        }
    }

    private boolean take(String expected) {
        skipSpace();
        boolean there = text.startsWith(expected, position);
        position += there ? expected.length() : 0;
        return there;
    }

    private void need(String expected) {
        if (!take(expected)) {
            throw fault(expected + " is wanted");
        }
    }

    private Object value(int depth) {
        if (depth > DEEPEST) {
            throw fault("too deep");
        }
        skipSpace();
        switch (position < text.length() ? text.charAt(position) : ' ') {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                need("true");
                return true;
            case 'f':
                need("false");
                return false;
            case 'n':
                need("null");
                return null;
            default:
                return number();
        }
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> object = new LinkedHashMap<>();
        need("{");
        if (take("}")) {
            return object;
        }
        do {
            String name = string();
            if (object.containsKey(name)) {
                throw fault("a name twice");
            }
            need(":");
            object.put(name, value(depth + 1));
        } while (take(","));
        need("}");
        return object;
    }

    private List<Object> array(int depth) {
        List<Object> array = new ArrayList<>();
        need("[");
        if (take("]")) {
            return array;
        }
        do {
            array.add(value(depth + 1));
        } while (take(","));
        need("]");
        return array;
    }

    private String string() {
        need("\"");
        StringBuilder string = new StringBuilder();
        for (char c = next(); c != '"'; c = next()) {
            if (c < ' ') {
                throw fault("a bare control character");
            }
            string.append(c == '\\' ? escaped() : c);
        }
        return string.toString();
    }

    private char next() {
        if (position == text.length()) {
            throw fault("the string does not end");
        }
        return text.charAt(position++);
    }

    private char escaped() {
        char c = next();
        switch (c) {
            case '"', '\\', '/':
                return c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                // What lies outside the basic plane comes as two of these, as it does in a String.
                return (char) HexFormat.fromHexDigits("" + next() + next() + next() + next());
            default:
                throw fault("an unknown escape");
        }
    }

    private BigDecimal number() {
        Matcher number = NUMBER.matcher(text).region(position, text.length());
        if (!number.lookingAt()) {
            throw fault("no value");
        }
        position = number.end();
        return new BigDecimal(number.group());
    }

    private IllegalArgumentException fault(String what) {
        return new IllegalArgumentException("JSON: " + what + ", at character " + position);
    }

    private static void write(StringBuilder out, Object value) {
        if (value instanceof Map<?, ?> object) {
            String before = "{";
            for (Map.Entry<?, ?> member : object.entrySet()) {
                quote(out.append(before), (String) member.getKey());
                write(out.append(':'), member.getValue());
                before = ",";
            }
            out.append(object.isEmpty() ? "{}" : "}");
        } else if (value instanceof List<?> array) {
            String before = "[";
            for (Object element : array) {
                write(out.append(before), element);
                before = ",";
            }
            out.append(array.isEmpty() ? "[]" : "]");
        } else if (value instanceof String string) {
            quote(out, string);
        } else if (value == null || value instanceof Boolean || value instanceof BigDecimal || value instanceof Integer || value instanceof Long) {
            out.append(value);
        } else {
            throw new IllegalArgumentException("no JSON: " + value.getClass());
        }
    }

    private static void quote(StringBuilder out, String string) {
        out.append('"');
        string.codePoints().forEach(c -> {
            if (c == '"' || c == '\\') {
                out.append('\\').append((char) c);
            } else if (c < ' ' || Character.getType(c) == Character.SURROGATE) {
                // Half of a pair has no UTF-8.
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        out.append('"');
    }
}
