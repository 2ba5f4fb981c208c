package io.tailwater.agent.admin;

/// What is sent back. Every dynamic part of `body` is escaped already.
public record Response(int status, String contentType, String body) {
  private static final String TEXT = "text/plain; charset=UTF-8";

  public static Response text(String body) {
    return new Response(200, TEXT, body);
  }

  public static Response text(int status, String body) {
    return new Response(status, TEXT, body);
  }

  public static Response json(String body) {
    return new Response(200, "application/json", body);
  }

  public static Response html(String body) {
    return new Response(200, "text/html; charset=UTF-8", body);
  }
}
