import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Creates, reads, changes and ends sessions with the default HTTP client of Java, which offers HTTP/2
 * (h2c) with each request. Prints the number of rounds.
 *
 * Usage: java DefaultClient.java BASE_URL ROUNDS
 */
public class DefaultClient {
    private static final String LOGIN = "{\"cookies\": {\"SESSIONID\": \"a1b2c3\"}, \"base_url\": \"https://golf.example\"}";
    private static final Pattern TOKEN = Pattern.compile("\"access_token\":\"([^\"]+)\"");

    private final HttpClient client = HttpClient.newHttpClient();
    private final String base;

    private DefaultClient(String base) {
        this.base = base;
    }

    public static void main(String[] arguments) throws Exception {
        DefaultClient caller = new DefaultClient(arguments[0]);
        int rounds = Integer.parseInt(arguments[1]);
        for (int round = 0; round < rounds; round++) {
            caller.useOneSession();
        }
        System.out.println(rounds);
    }

    private void useOneSession() throws Exception {
        String created = call("POST", "/v1/sessions", null, LOGIN, 201);
        Matcher token = TOKEN.matcher(created);
        if (!token.find()) {
            throw new AssertionError(created);
        }
        String bearer = "Bearer " + token.group(1);
        call("GET", "/v1/session", bearer, null, 200);
        call("PATCH", "/v1/session", bearer, "{\"cookies\": {\"lang\": \"en\"}}", 200);
        call("DELETE", "/v1/session", bearer, null, 204);
        call("GET", "/v1/session", bearer, null, 401);
    }

    private String call(String method, String path, String authorization, String json, int expected)
            throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + path));
        if (authorization != null) {
            request.header("Authorization", authorization);
        }
        if (json == null) {
            request.method(method, BodyPublishers.noBody());
        } else {
            request.header("Content-Type", "application/json");
            request.method(method, BodyPublishers.ofString(json));
        }
        HttpResponse<String> response = client.send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() != expected) {
            throw new AssertionError(method + " " + path + ": " + response.statusCode() + " " + response.body());
        }
        return response.body();
    }
}
