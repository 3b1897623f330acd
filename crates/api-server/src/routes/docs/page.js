"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  // Tokens are kept only in the memory of the page.
  persistAuthorization: false,
  // The description is not sent to an external validator.
  validatorUrl: null,
  // Each operation has its own URL within the page.
  deepLinking: true,
});
