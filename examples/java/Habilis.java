import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import javax.net.ssl.SSLHandshakeException;

/** Calls to Habilis as the holder of one card, or in the session that a token opens. */
final class Habilis {
    static final String BASE = System.getenv().getOrDefault("HABILIS_BASE", "https://localhost:8443/fhir");
    /** How often a request is sent again, at most, and how many seconds a server may have us wait. */
    private static final int RETRIES = 3;
    private static final long PATIENCE = 60;

    private final HttpClient client;
    private final String token;

    private Habilis(HttpClient client, String token) {
        this.client = client;
        this.token = token;
    }

    static Habilis with(String card) throws IOException, GeneralSecurityException {
        return new Habilis(Card.client(card), null);
    }

    /** A session in another mode (docs/tokens.md): the token is bound to the certificate over which it was asked for. */
    Habilis session(String... parameters) throws IOException, InterruptedException {
        Object answer = call("POST", BASE.replaceFirst("/fhir$", "/oauth2/token"), Body.form(parameters)).expect(200).json();
        return new Habilis(client, Json.text(answer, "access_token"));
    }

    Answer get(String path, String... headers) throws IOException, InterruptedException {
        return call("GET", path, Body.NONE, headers);
    }

    Answer post(String path, Object resource) throws IOException, InterruptedException {
        return call("POST", path, Body.fhir(resource));
    }

    /** One call; path: behind BASE, or a whole URL that the server gave. Headers: names and values in turn. */
    Answer call(String method, String path, Body body, String... headers) throws IOException, InterruptedException {
        URI uri = URI.create(path.startsWith("https:") ? path : BASE + path);
        HttpRequest.Builder request = HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(30)).setHeader("Accept", "application/fhir+json");
        request.method(method, body.bytes().length > 0 ? BodyPublishers.ofByteArray(body.bytes()) : BodyPublishers.noBody());
        if (!body.type().isEmpty()) {
            request.setHeader("Content-Type", body.type());
        }
        if (token != null) {
            request.setHeader("Authorization", "Bearer " + token);
        }
        for (int i = 0; i < headers.length; i += 2) {
            request.setHeader(headers[i], headers[i + 1]);
        }
        return new Answer(send(request.build()));
    }

    /**
     * Sends, and sends the same bytes again where the server says "later" (503, 429) or says nothing (a connection that is cut, an answer that
     * does not come). After 503 and 429 nothing was done. After a cut all may have been done: a feed is then answered as the first time, an
     * authorisation declared twice is one, a PATCH with If-Match gets 412 (see Day.mask). What counts once (an assertion, a token of AIR) must be
     * made anew instead. A GET that is cut before any answer is sent once more by the JDK itself, each time.
     */
    private HttpResponse<byte[]> send(HttpRequest request) throws IOException, InterruptedException {
        for (int left = RETRIES;; left--) {
            long seconds = 1;
            try {
                HttpResponse<byte[]> response = client.send(request, BodyHandlers.ofByteArray());
                boolean later = response.statusCode() == 503 || response.statusCode() == 429;
                Optional<String> asked = response.headers().firstValue("Retry-After").filter(value -> value.matches("\\d{1,9}"));
                seconds = asked.map(Long::valueOf).orElse(seconds);
                if (!later || left == 0 || seconds > PATIENCE) {
                    return response;
                }
            } catch (SSLHandshakeException refused) {
                // The card is not accepted, or the server is not the one that we believe in: the same again changes nothing.
                throw refused;
            } catch (IOException cut) {
                if (left == 0) {
                    throw cut;
                }
            }
            Thread.sleep(seconds * 1000);
        }
    }

    /** Names and values in turn, as a query or a form has them. */
    static String query(String... parameters) {
        List<String> pairs = new ArrayList<>();
        for (int i = 0; i < parameters.length; i += 2) {
            pairs.add(URLEncoder.encode(parameters[i], StandardCharsets.UTF_8) + "=" + URLEncoder.encode(parameters[i + 1], StandardCharsets.UTF_8));
        }
        return String.join("&", pairs);
    }

    /** What is sent: made once, so that it is the same however often it is sent. */
    record Body(String type, byte[] bytes) {
        static final Body NONE = new Body("", new byte[0]);

        static Body fhir(Object resource) {
            return new Body("application/fhir+json", Json.write(resource));
        }

        static Body patch(Object... operations) {
            return new Body("application/json-patch+json", Json.write(List.of(operations)));
        }

        static Body form(String... parameters) {
            return new Body("application/x-www-form-urlencoded", query(parameters).getBytes(StandardCharsets.UTF_8));
        }
    }

    record Answer(HttpResponse<byte[]> response) {
        int status() {
            return response.statusCode();
        }

        byte[] bytes() {
            return response.body();
        }

        Object json() {
            return Json.read(bytes());
        }

        Answer expect(int status) {
            if (status() != status) {
                throw new IllegalStateException(toString());
            }
            return this;
        }

        /** What happened, for a log. A refusal is an OperationOutcome and says why. Query and resources are left out: patients stand in them. */
        @Override
        public String toString() {
            String requestId = response.headers().firstValue("X-Request-Id").orElse("");
            String path = response.request().method() + " " + response.uri().getPath();
            return path + ": " + status() + " " + requestId + " " + (status() < 400 ? "" : new String(bytes(), StandardCharsets.UTF_8));
        }
    }
}
