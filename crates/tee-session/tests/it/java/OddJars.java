import java.io.PrintStream;
import java.net.CookieManager;
import java.net.CookiePolicy;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Does the same as ../python/odd_jars.py, with the HTTP client and the cookie manager of Java.
 *
 * <p>Usage: java OddJars.java SERVICE URL...
 */
class OddJars {
    public static void main(String[] arguments) throws Exception {
        String service = arguments[0];
        List<String> urls = List.of(arguments).subList(1, arguments.length);
        CookieManager cookies = new CookieManager(null, CookiePolicy.ACCEPT_ALL);
        HttpClient client = HttpClient.newBuilder().cookieHandler(cookies).build();
        List<List<String>> lines = new ArrayList<>();
        for (String url : urls) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
            lines.add(client.send(request, BodyHandlers.discarding()).headers().allValues("set-cookie"));
        }
        List<List<String>> jar = cookies.getCookieStore().getCookies().stream()
            .map(cookie -> List.of(cookie.getName(), cookie.getValue(), cookie.getPath()))
            .collect(Collectors.toList());

        String members = jar.stream()
            .filter(cookie -> cookie.get(2).equals("/"))
            .map(cookie -> text(cookie.get(0)) + ":" + text(cookie.get(1)))
            .collect(Collectors.joining(","));
        String login = "{\"cookies\":{" + members + "},\"base_url\":" + text(urls.get(0)) + "}";
        String created = send(HttpRequest.newBuilder(URI.create(service + "/v1/sessions"))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(login)));
        String token = created.replaceAll(".*\"access_token\":\"([^\"]+)\".*", "$1");
        String session = send(HttpRequest.newBuilder(URI.create(service + "/v1/session"))
            .header("Authorization", "Bearer " + token));
        new PrintStream(System.out, true, StandardCharsets.UTF_8).println("{\"jar\":" + lists(jar) + ",\"created\":" + created
            + ",\"session\":" + session + ",\"lines\":" + lists(lines) + "}");
    }

    static String send(HttpRequest.Builder request) throws Exception {
        return HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString()).body();
    }

    static String lists(List<List<String>> lists) {
        return lists.stream()
            .map(list -> list.stream().map(OddJars::text).collect(Collectors.joining(",", "[", "]")))
            .collect(Collectors.joining(",", "[", "]"));
    }

    /** Returns a JSON string in ASCII. */
    static String text(String text) {
        return text.chars()
            .mapToObj(c -> c < ' ' || c > '~' || c == '"' || c == '\\' ? String.format("\\u%04x", c) : "" + (char) c)
            .collect(Collectors.joining("", "\"", "\""));
    }
}
