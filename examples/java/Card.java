import java.io.IOException;
import java.io.InputStream;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Mutual TLS with a card of the sandbox: what we show is in a PKCS#12, whom we believe in ca.pem and nowhere else. */
final class Card {
    static final Path CERTS = Path.of(System.getenv().getOrDefault("HABILIS_CERTS", "certs/sandbox"));
    private static final char[] PASSWORD = "habilis".toCharArray();

    private Card() {
    }

    /** A client that connects as the holder of the card of that name. It keeps its connections: make one and use it throughout. */
    static HttpClient client(String name) throws IOException, GeneralSecurityException {
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(shown(CERTS.resolve(name + ".p12")).getKeyManagers(), believed(CERTS.resolve("ca.pem")).getTrustManagers(), null);
        return HttpClient.newBuilder().sslContext(tls).connectTimeout(Duration.ofSeconds(10)).build();
    }

    /** The key, its certificate and those between it and the root. */
    private static KeyManagerFactory shown(Path pkcs12) throws IOException, GeneralSecurityException {
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(KeyStore.getInstance(pkcs12.toFile(), PASSWORD), PASSWORD);
        return keys;
    }

    private static TrustManagerFactory believed(Path pem) throws IOException, GeneralSecurityException {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (InputStream file = Files.newInputStream(pem)) {
            for (Certificate authority : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                authorities.setCertificateEntry("authority-" + authorities.size(), authority);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(authorities);
        return trust;
    }
}
